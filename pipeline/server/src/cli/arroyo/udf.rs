//! The functions of the job, as source text.

use std::path::Path;

use tidegate_core::manifest::Manifest;
use tidegate_udf::source::{self, Function, Origin};

use crate::Failure;
use crate::cli::arroyo::{ArroyoOriginArguments, ArroyoUdfArguments};
use crate::cli::output;

/// A function, with the source that Arroyo compiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Udf {
    /// The name that SQL calls it by.
    pub(super) name: String,
    pub(super) source: String,
}

/// Runs `tidegate arroyo udf`.
pub(super) fn command(manifest: &Manifest, arguments: &ArroyoUdfArguments) -> Result<(), Failure> {
    let origin = origin(&arguments.origin)?;
    let udfs = of(manifest, &origin, arguments.dataset.as_deref(), arguments.function)?;
    match (&arguments.to, &udfs[..]) {
        (Some(folder), _) => write(folder, &udfs),
        (None, [udf]) => output::print(&udf.source),
        (None, _) => {
            let names: Vec<_> = udfs.iter().map(|udf| udf.name.as_str()).collect();
            Err(Failure::usage(format!(
                "Arroyo takes one function from a file, and these are {}: {}; choose one with --dataset and \
                 --function, or a folder for all of them with --to",
                udfs.len(),
                names.join(", ")
            )))
        }
    }
}

/// The functions of all datasets or of one: both of each, or only one.
pub(super) fn of(
    manifest: &Manifest,
    origin: &Origin,
    dataset: Option<&str>,
    function: Option<Function>,
) -> Result<Vec<Udf>, Failure> {
    if let Some(name) = dataset
        && manifest.dataset(name).is_none()
    {
        let names: Vec<_> = manifest.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
        let names = names.join(", ");
        return Err(Failure::usage(format!("there is no dataset '{name}'; the manifest has {names}")));
    }
    let datasets = manifest.datasets.iter().filter(|each| dataset.is_none_or(|name| each.name == name));
    let functions =
        Function::ALL.into_iter().filter(|each| function.is_none_or(|function| *each == function));
    let udfs = datasets.flat_map(|dataset| {
        functions.clone().map(|function| Udf {
            name: function.of(dataset),
            source: source::of(manifest, dataset, function, origin),
        })
    });
    Ok(udfs.collect())
}

/// The place where Arroyo's compiler finds the crate.
pub(super) fn origin(arguments: &ArroyoOriginArguments) -> Result<Origin, Failure> {
    let ArroyoOriginArguments { git, tag, crate_version, path } = arguments;
    Ok(match (git, tag, path) {
        (Some(url), Some(tag), _) => Origin::Git { url: url.clone(), tag: tag.clone() },
        (_, _, Some(path)) => {
            let absolute = std::path::absolute(path)?;
            let text = absolute.to_str().ok_or_else(|| {
                Failure::usage(format!("the path '{}' is no UTF-8, as TOML has to be", path.display()))
            })?;
            Origin::Path(text.to_owned())
        }
        _ => Origin::Version(crate_version.clone().unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned())),
    })
}

fn write(folder: &Path, udfs: &[Udf]) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(format!("cannot write '{}': {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for udf in udfs {
        let path = folder.join(format!("{}.rs", udf.name));
        std::fs::write(&path, &udf.source).map_err(|error| failed(&path, error))?;
        output::print(format!("wrote {}\n", path.display()))?;
    }
    Ok(())
}
