//! Sources that are generated, compiled, loaded and called as Arroyo calls them.
//!
//! Arroyo has cargo build a C library of a source, loads it and calls `__run`, which the plugin's macro has made
//! of the function, with arrays of Arrow. The libraries are examples of this package, so that they are
//! built along with the tests, and Arrow with them, once. `generated` holds their sources, and a test holds
//! these to the generator.

#![allow(unsafe_code)] // what is loaded at run time cannot be called otherwise; see `Library::call`

use std::path::Path;

use arroyo_udf_plugin::arrow::array::{Array, StringArray};
use arroyo_udf_plugin::arrow::ffi::from_ffi;
use arroyo_udf_plugin::{FfiArraySchema, FfiArrays, RunResult};
use tidegate_core::manifest::Manifest;
use tidegate_udf::Functions;
use tidegate_udf::source::{self, Function, Origin};

use crate::manifests;

/// A compiled function, loaded.
struct Library(libloading::Library);

type Run = unsafe extern "C-unwind" fn(FfiArrays) -> RunResult;

impl Library {
    /// The library of an example.
    fn load(function: Function) -> Self {
        let name = format!("{}{function}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        // Beside the folder of the tests, whatever the profile and the target are.
        let test = std::env::current_exe().unwrap();
        let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
        // SAFETY: what runs when the library is loaded is what the standard library does for any.
        let library = unsafe { libloading::Library::new(path) };
        // With the name of a test cargo builds no examples, and those that are there may be old.
        let advice = "'cargo build -p tidegate-udf --examples' builds it, as 'cargo test' without names does";
        Self(library.unwrap_or_else(|error| panic!("{error}\n{advice}")))
    }

    /// The results for a batch of values, null for null.
    fn call(&self, values: &[Option<&str>]) -> Vec<Option<String>> {
        let arrays = FfiArrays::from_vec(vec![StringArray::from(values.to_vec()).to_data()]);
        // SAFETY: the macro of the plugin has made `__run` with this type, and both sides use one version of
        // it. The library takes over the arrays given, and this side those that come back, once each.
        let result = unsafe {
            let run = self.0.get::<Run>(b"__run").expect("the macro has made it");
            match run(arrays) {
                RunResult::Ok(FfiArraySchema(array, schema)) => from_ffi(array, &schema).unwrap(),
                RunResult::Err => panic!("the function has panicked"),
            }
        };
        StringArray::from(result).iter().map(|value| value.map(str::to_owned)).collect()
    }
}

/// What is compiled: a dataset of a manifest, and a function of it.
fn compiled() -> [(Manifest, &'static str, Function, &'static str); 2] {
    let [company, types, _] = <[Manifest; 3]>::try_from(manifests()).unwrap();
    [
        (company, "hired_employees", Function::Accept, include_str!("generated/accept.rs")),
        // Its rules hold all that could break out of a source.
        (types, "all", Function::Reject, include_str!("generated/reject.rs")),
    ]
}

#[test]
fn what_is_compiled_is_what_is_generated() {
    for (manifest, dataset, function, text) in compiled() {
        let (_, dataset) = manifest.dataset(dataset).unwrap();
        let now = source::of(&manifest, dataset, function, &Origin::Version("0.1.0".to_owned()));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{function}.rs"));
        std::fs::write(&path, &now).unwrap();
        assert!(
            now == text,
            "tests/generated/{function}.rs is not what is generated now: {}",
            path.display()
        );
    }
}

#[test]
fn a_compiled_function_says_of_a_batch_what_the_library_says() {
    let [(company, employees, ..), (types, all, ..)] = compiled();
    let lines = [
        Some("0,1,1,7,Ada,2021-07-27T16:02:08Z,1,2"),
        Some("0,3,117,7,\"Ada, \"\"the first\"\"\",2021-07-27T16:02:08Z,1,2"),
        None,
        Some("0,1,2,7,,soon,1"),
        Some("not of this form"),
        Some("0,1,4,7,\"é\r\n😀\",2021-07-27T16:02:08Z,1,2"),
        Some(""),
    ];
    let functions = Functions::new(company.dataset(employees).unwrap().1);
    let accepted = Library::load(Function::Accept).call(&lines);
    assert_eq!(accepted, lines.map(|line| functions.accept(line?)));
    assert_eq!(accepted.iter().flatten().count(), 3);

    let lines = [
        Some("0,1,1,1,1,2,99.5,1e-300,true,a,*/,2021-07-27,2021-07-27T16:02:08Z,,1"),
        Some("0,1,2,1,1,,,,,a,é😀,,,,"),
        Some("0,1,3,-10,1,3,100,x,?,bé#\"\"'z,\"\"\"##\",1999-01-01,2031-01-01,7,{"),
        None,
        Some("0,1,4,1"),
        Some("0,1,5,1,1,,,,,a,\"\"\"#\",,,,"),
        Some("not of this form"),
    ];
    let functions = Functions::new(types.dataset(all).unwrap().1);
    let undated = |letter: Option<String>| Some(letter?.split_once(",\"at\":").unwrap().0.to_owned());
    let reject = Library::load(Function::Reject);
    let rejected: Vec<_> = reject.call(&lines).into_iter().map(undated).collect();
    assert_eq!(rejected, lines.map(|line| undated(functions.reject(line?))));
    assert_eq!(rejected.iter().flatten().count(), 3, "{rejected:#?}");
    assert!(reject.call(&[]).is_empty());
}

#[test]
#[should_panic(expected = "\"vector\" is no type")]
fn a_function_that_cannot_read_its_manifest_stops_the_job() {
    let [(_, employees, _, text), _] = compiled();
    let (_, manifest) = text.split_once("r#\"\n").unwrap();
    // As if a later version of the manifest's grammar had written it.
    let manifest = manifest.trim_end().trim_end_matches("\"#;").replace("\"timestamptz\"", "\"vector\"");
    Functions::from_text(&manifest, employees);
}
