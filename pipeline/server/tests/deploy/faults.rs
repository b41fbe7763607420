//! The checks, each a list of what is wrong.

use std::collections::{BTreeMap, BTreeSet};

use clap::Parser;
use serde_json::Value;
use tidegate::cli::Cli;

use super::container::{Container, resolved, texts, variables};
use super::image::{Image, ignored};
use super::repository;

/// What the binary says to the command and to each probe of a container.
pub(super) fn command_faults(container: &Container, image: &Image) -> Vec<String> {
    if !container.runs_tidegate() {
        return Vec::new();
    }
    let place = &container.place;
    let refusal = |words: &[String]| {
        Cli::try_parse_from(words).err().map(|error| format!("{place}: '{}': {error}", words.join(" ")))
    };
    let replaced = container.entrypoint.is_some();
    let entrypoint = container.entrypoint.as_ref().unwrap_or(&image.entrypoint);
    let arguments =
        if container.arguments.is_empty() && !replaced { &image.command } else { &container.arguments };
    let mut faults: Vec<_> = refusal(&[entrypoint.as_slice(), arguments].concat()).into_iter().collect();
    let mut runs = vec![entrypoint.first()];
    for probe in &container.probes {
        match probe.split_first() {
            Some((how, command)) if how == "CMD" => {
                faults.extend(refusal(command));
                runs.push(command.first());
            }
            _ => faults.push(format!("{place}: a probe needs a shell, which the image has not: {probe:?}")),
        }
    }
    let strange = runs.into_iter().flatten().filter(|program| *program != "tidegate");
    faults.extend(strange.map(|program| format!("{place}: the image has no {program}")));
    faults
}

pub(super) fn variable_faults(
    container: &Container,
    known: &BTreeSet<String>,
    manifest: &str,
) -> Vec<String> {
    if !container.runs_tidegate() {
        return Vec::new();
    }
    let (place, set) = (&container.place, &container.environment);
    let unknown = set.keys().filter(|name| !known.contains(*name));
    let unknown = unknown.map(|name| format!("{place}: tidegate knows no {name}"));
    let lacking = variables(manifest).into_iter().chain(["DATABASE_URL".to_owned()]);
    let lacking = lacking.filter(|name| !set.contains_key(name)).map(|name| format!("{place} lacks {name}"));
    unknown.chain(lacking).collect()
}

/// Passwords by the name of their key, and in URLs. Only a variable that has to be set may stand there.
pub(super) fn password_faults(file: &str, value: &Value) -> Vec<String> {
    let must_be_set = |text: &str| text.starts_with("${") && text.ends_with('}') && text.contains(":?");
    let mut found = Vec::new();
    texts(value, "", &mut found);
    let faulty = found.into_iter().filter(|(path, text)| {
        let key = path.rsplit('.').next().unwrap_or_default().to_ascii_uppercase();
        let is_secret = ["PASSWORD", "SECRET", "TOKEN"].iter().any(|word| key.ends_with(word));
        let in_url = text.split_once("://").and_then(|(_, rest)| {
            let (user, _) = rest.rsplit_once('@')?;
            let (user, password) = user.split_once(':')?;
            (!user.contains('/') && !password.contains('/')).then_some(password)
        });
        is_secret && !must_be_set(text) || in_url.is_some_and(|password| !must_be_set(password))
    });
    faulty.map(|(path, _)| format!("{file}{path} holds a password")).collect()
}

pub(super) fn pin_fault(place: &str, image: &str) -> Option<String> {
    let image = resolved(image);
    let name = image.rsplit('/').next().unwrap_or_default();
    let is_pinned =
        image.contains("@sha256:") || name.split_once(':').is_some_and(|(_, tag)| tag != "latest");
    (!is_pinned).then(|| format!("{place}: the image '{image}' names no version"))
}

pub(super) fn root_fault(container: &Container, image: &Image) -> Option<String> {
    let user = container.user.as_deref().or(image.user.as_deref()).map(resolved);
    let as_root = user.as_deref().is_none_or(is_root);
    (container.runs_tidegate() && as_root).then(|| format!("{} runs as root", container.place))
}

pub(super) fn is_root(user: &str) -> bool {
    ["root", "0", ""].contains(&user.split(':').next().unwrap_or_default())
}

pub(super) fn copy_faults(path: &str, dockerignore: &str) -> Vec<String> {
    let lacking = (!repository().join(path).exists()).then(|| format!("COPY {path}: there is no such path"));
    let kept =
        ignored(dockerignore, path).then(|| format!("COPY {path}: .dockerignore keeps it from the builder"));
    lacking.into_iter().chain(kept).collect()
}

/// Paths of the repository that are mounted and not there, and volumes that nobody declares.
pub(super) fn mount_faults(compose: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, service) in compose["services"].as_object().expect("a compose file has services") {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let short = volume.as_str().and_then(|short| short.split(':').next());
            let source = short.or(volume["source"].as_str()).unwrap_or_default();
            let is_variable = source.starts_with("${");
            let is_there = match source.starts_with("./") {
                true => repository().join(source).exists(),
                false => compose["volumes"].get(source).is_some(),
            };
            if !is_variable && !is_there {
                faults.push(format!("service {name} mounts '{source}', which is not there"));
            }
        }
    }
    faults
}

/// What a `kustomization.yaml` names and its folder lacks, and the other way about. `generated` takes up the
/// keys of the ConfigMaps that it makes.
pub(super) fn kustomization_faults(
    folder: &str,
    kustomization: &Value,
    generated: &mut BTreeMap<String, BTreeSet<String>>,
) -> Vec<String> {
    let names = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut named = names(&kustomization["resources"]);
    for map in kustomization["configMapGenerator"].as_array().into_iter().flatten() {
        let files = names(&map["files"]);
        let literals = names(&map["literals"]);
        let literals = literals.iter().filter_map(|literal| literal.split('=').next()).map(str::to_owned);
        let keys = files.iter().cloned().chain(literals).collect();
        generated.insert(map["name"].as_str().unwrap_or_default().to_owned(), keys);
        named.extend(files);
    }
    let place = repository().join(folder);
    let lacking = named.iter().filter(|name| !place.join(name).exists());
    let mut faults: Vec<_> = lacking.map(|name| format!("{folder} has no {name}")).collect();
    for entry in std::fs::read_dir(&place).expect("the folder was read just now") {
        let name = entry.expect("the folder can be read").file_name().to_string_lossy().into_owned();
        if name != "kustomization.yaml" && !named.contains(&name) {
            faults.push(format!("{folder}/kustomization.yaml does not name {name}"));
        }
    }
    faults
}

/// ConfigMaps and their keys that an object asks for and nothing makes.
pub(super) fn reference_faults(
    file: &str,
    object: &Value,
    generated: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<String> {
    let mut found = Vec::new();
    texts(object, "", &mut found);
    let lacking = found.into_iter().filter(|(path, name)| {
        let is_map = path.ends_with("configMap.name") || path.ends_with("configMapKeyRef.name");
        let is_key = path.ends_with("configMapKeyRef.key");
        is_map && !generated.contains_key(name)
            || is_key && !generated.values().any(|keys| keys.contains(name))
    });
    lacking.map(|(_, name)| format!("{file}: no ConfigMap is or holds '{name}'")).collect()
}
