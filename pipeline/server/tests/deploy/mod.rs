//! The compose file, the image and the manifests of Kubernetes say what the binary understands.
//!
//! No engine runs here, so nothing proves that they start. What goes stale without anybody noticing is
//! checked instead: command lines, variables, paths, users, versions. Each check is a function that lists
//! faults, and each is shown a planted one.

mod container;
mod faults;
mod image;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use serde_json::Value;
use tidegate::cli::Cli;
use tidegate_core::manifest::Manifest;

use self::container::{Container, documents, variables};
use self::faults::{
    command_faults, copy_faults, is_root, kustomization_faults, mount_faults, password_faults, pin_fault,
    reference_faults, root_fault, variable_faults,
};
use self::image::{Image, ignored};

/// Read by the crate that logs, so the command line does not declare it.
const LOG_LEVEL: &str = "RUST_LOG";
const MANIFEST: &str = "examples/cluster/tidegate.yaml";
const BASE: &str = "deploy/k8s/base";
const OVERLAY: &str = "deploy/k8s/overlays/company";
/// Folders whose `kustomization.yaml` make the overlay.
const KUSTOMIZATIONS: [&str; 4] = [BASE, OVERLAY, "examples/cluster", "sql/views"];

#[test]
fn every_command_line_is_one_that_the_binary_accepts() {
    let image = dockerfile();
    let planted = compose_of(
        "services:
           sink: {image: tidegate:1, command: [sinc]}
           shell: {image: tidegate:1, command: sink --partitions 0-3, healthcheck: {test: [CMD-SHELL, tidegate]}}
           probe: {image: 'x/tidegate:1', healthcheck: {test: [CMD, tidegate, status, --ready, skin]}}
           other: {image: postgres:17, command: [sinc]}",
    );
    let faults: Vec<_> = planted.iter().flat_map(|container| command_faults(container, &image)).collect();
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert!(faults.iter().any(|fault| fault.contains("service sink: 'tidegate sinc'")), "{faults:#?}");
    assert!(faults.iter().any(|fault| fault.contains("service shell: a probe needs a shell")), "{faults:#?}");
    assert!(faults.iter().any(|fault| fault.contains("--ready skin")), "{faults:#?}");

    assert_none(all_containers().iter().flat_map(|container| command_faults(container, &image)));
}

#[test]
fn every_variable_is_known_and_none_is_lacking() {
    let known = known_variables();
    let manifest = read(MANIFEST);
    assert!(
        known.contains("DATABASE_URL") && variables(&manifest) == ["FLUVIO_ENDPOINT", "TRANSFORM"],
        "{known:?}"
    );
    let containers = all_containers();
    assert_none(containers.iter().flat_map(|container| variable_faults(container, &known, &manifest)));
    let image = dockerfile();
    assert_none(image.environment.iter().filter(|(name, _)| !known.contains(name)).map(|(name, _)| name));

    let planted = compose_of(
        "services:
           sink: {image: tidegate:1, environment: {DATABASE_URL: x, TIDEGATE_DATADIR: y, FLUVIO_ENDPOINT: z, TRANSFORM: t}}
           lacking: {image: tidegate:1, environment: [DATABASE_URL=x, RUST_LOG, TRANSFORM=t]}",
    );
    let faults: Vec<_> =
        planted.iter().flat_map(|container| variable_faults(container, &known, &manifest)).collect();
    assert_eq!(faults.len(), 2, "{faults:#?}");
    assert!(faults.iter().any(|fault| fault.contains("knows no TIDEGATE_DATADIR")), "{faults:#?}");
    assert!(faults.iter().any(|fault| fault.contains("lacks FLUVIO_ENDPOINT")), "{faults:#?}");
}

#[test]
fn no_password_stands_in_a_file() {
    let mut files = vec![("compose.yaml".to_owned(), compose())];
    files.extend(objects());
    assert_none(files.iter().flat_map(|(file, value)| password_faults(file, value)));
    let example = read(".env.example");
    let set = example.lines().filter_map(|line| line.split_once('='));
    assert_none(set.filter(|(name, value)| name.ends_with("PASSWORD") && !value.is_empty()));

    let planted = documents(
        "a: {environment: {POSTGRES_PASSWORD: hunter2, OTHER_PASSWORD: '${X:-hunter2}', FINE_PASSWORD: '${X:?set it}'}}
b: [postgres://u:hunter2@h/d, 'postgres://u:${X:-hunter2}@h/d', 'postgres://u:${X:?set it}@h/d', 'http://h:80/x@y']",
    );
    let faults = password_faults("planted", &planted[0]);
    assert_eq!(faults.len(), 4, "{faults:#?}");
    assert!(faults.iter().all(|fault| !fault.contains("FINE") && !fault.contains("http")), "{faults:#?}");
}

#[test]
fn every_image_is_pinned() {
    assert_none(
        all_containers().iter().filter_map(|container| pin_fault(&container.place, &container.image)),
    );
    assert_none(dockerfile().bases.iter().filter_map(|base| pin_fault("Dockerfile", base)));

    for planted in ["postgres", "postgres:latest", "localhost:5000/postgres", "${IMAGE:-x:latest}", ""] {
        assert!(pin_fault("planted", planted).is_some(), "{planted}");
    }
    for fine in ["postgres:17.6", "localhost:5000/x:1", "x@sha256:0", "${IMAGE:-x:1}"] {
        assert_eq!(pin_fault("planted", fine), None);
    }
}

#[test]
fn nothing_of_ours_runs_as_root() {
    let image = dockerfile();
    assert_none(all_containers().iter().filter_map(|container| root_fault(container, &image)));
    assert!(image.user.as_deref().is_some_and(|user| !is_root(user)), "{image:?}");
    let example = read(".env.example");
    assert!(!example.lines().any(|line| line == "TIDEGATE_UID=0"), "{example}");

    let planted = compose_of(
        "services:
           a: {image: tidegate:1, user: root}
           b: {image: tidegate:1, user: '0:0'}
           c: {image: tidegate:1, user: '${WHO:-0}:${GROUP:-1}'}
           d: {image: tidegate:1}
           e: {image: tidegate:1, user: '${WHO:-7}'}",
    );
    let faults: Vec<_> = planted.iter().filter_map(|container| root_fault(container, &image)).collect();
    assert_eq!(faults.len(), 3, "{faults:#?}");
    let rootly = Image { user: None, ..image };
    assert_eq!(planted.iter().filter_map(|container| root_fault(container, &rootly)).count(), 4);
}

#[test]
fn the_image_is_built_from_files_that_reach_the_builder() {
    let dockerignore = read(".dockerignore");
    let image = dockerfile();
    assert!(image.sources.len() > 3, "{image:?}");
    assert_none(image.sources.iter().flat_map(|path| copy_faults(path, &dockerignore)));
    let planted: Vec<_> = ["no-such-folder", "docs", "connectors"]
        .iter()
        .flat_map(|path| copy_faults(path, &dockerignore))
        .collect();
    assert_eq!(planted.len(), 3, "one is not there, and two are kept from the builder: {planted:#?}");

    assert!(ignored(&dockerignore, ".env") && ignored(&dockerignore, "pipeline/x/target/release"));

    // What the code includes when it is compiled has to be among them.
    let copied = |path: &Path| image.sources.iter().any(|source| path.starts_with(repository().join(source)));
    let mut included = 0;
    for folder in ["connectors", "pipeline"] {
        let files = files_below(&repository().join(folder), "rs").into_iter();
        for file in files.filter(|file| file.iter().any(|part| part == "src")) {
            for path in inclusions(&std::fs::read_to_string(&file).unwrap()) {
                let path = file.parent().unwrap().join(path).canonicalize().unwrap();
                assert!(copied(&path), "{} includes {}, which is not copied", file.display(), path.display());
                included += 1;
            }
        }
    }
    assert!(included > 30, "only {included} files are included; did the test lose sight of them?");
}

#[test]
fn every_path_of_the_compose_file_is_there() {
    assert_none(mount_faults(&compose()));
    let planted = "services:
           a: {volumes: ['./no-such-file:/x', './sql:/y', 'kept:/z', 'lost:/z', '${LANDING}:/l']}
           b: {volumes: [{type: bind, source: ./no-such-folder, target: /x}]}
volumes: {kept: }";
    let faults = mount_faults(&documents(planted)[0]);
    assert_eq!(faults.len(), 3, "{faults:#?}");

    let example = read(".env.example");
    let named = |name: &str| {
        example.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{name}=")))
    };
    for name in variables(&read("compose.yaml")) {
        assert!(named(&name), ".env.example does not name {name}");
    }
}

#[test]
fn kustomize_finds_everything_and_forgets_nothing() {
    let mut generated = BTreeMap::new();
    for folder in KUSTOMIZATIONS {
        let kustomization = &documents(&read(&format!("{folder}/kustomization.yaml")))[0];
        assert_none(kustomization_faults(folder, kustomization, &mut generated));
    }
    assert_none(objects().iter().flat_map(|(file, object)| reference_faults(file, object, &generated)));

    let planted =
        &documents("configMapGenerator: [{name: m, files: [tidegate.yaml, views.yaml], literals: [A=1]}]")[0];
    let mut made = BTreeMap::new();
    let faults = kustomization_faults("examples/cluster", planted, &mut made);
    assert_eq!(faults, ["examples/cluster has no views.yaml"]);
    let faults = kustomization_faults("sql/views", &Value::Null, &mut made);
    assert!(faults.len() >= 3 && faults[0].contains("does not name"), "{faults:#?}");
    let planted = &documents(
        "[{configMap: {name: m}}, {configMap: {name: lost}},
          {configMapKeyRef: {name: m, key: A}}, {configMapKeyRef: {name: m, key: B}}]",
    )[0];
    assert_eq!(reference_faults("planted", planted, &made).len(), 2);
}

#[test]
fn the_cluster_example_is_the_company_with_topics_of_its_own() {
    let manifest = |path: &str| documents(&read(path)).remove(0);
    let cluster = manifest(MANIFEST);
    assert_eq!(cluster["datasets"], manifest("examples/company/tidegate.yaml")["datasets"]);
    let partitions = cluster["topics"]["fluvio"]["partitions"].as_u64().unwrap();
    let autoscalers = documents(&read(&format!("{BASE}/autoscalers.yaml")));
    assert_eq!(autoscalers.len(), 2);
    for autoscaler in autoscalers {
        assert_eq!(autoscaler["spec"]["maxReplicas"], partitions, "more have nothing to do: {autoscaler:#}");
    }
}

#[test]
fn the_cluster_example_is_a_manifest() {
    let environment = |name: &str| match name {
        "FLUVIO_ENDPOINT" => Some("sc:9003".to_owned()),
        "TRANSFORM" => Some("arroyo".to_owned()),
        _ => None,
    };
    if let Err(faults) = Manifest::parse(&read(MANIFEST), &environment) {
        panic!("{}", faults.render(MANIFEST));
    }
}

/// The paths that `include_str!` and `include_bytes!` name.
fn inclusions(code: &str) -> Vec<&str> {
    let after = ["include_str!(\"", "include_bytes!(\""]
        .into_iter()
        .flat_map(|macro_call| code.split(macro_call).skip(1));
    after.filter_map(|rest| rest.split('"').next()).collect()
}

/// All variables that the command line declares or the manifest of the example uses.
fn known_variables() -> BTreeSet<String> {
    fn declared(command: &clap::Command, names: &mut BTreeSet<String>) {
        let arguments = command.get_arguments().filter_map(clap::Arg::get_env);
        names.extend(arguments.map(|name| name.to_string_lossy().into_owned()));
        command.get_subcommands().for_each(|command| declared(command, names));
    }
    let mut names = BTreeSet::from([LOG_LEVEL.to_owned()]);
    declared(&Cli::command(), &mut names);
    names.extend(variables(&read(MANIFEST)));
    names
}

fn all_containers() -> Vec<Container> {
    let mut containers = container::of_compose("compose.yaml", &compose());
    for (file, object) in objects() {
        containers.extend(container::of_kubernetes(&file, &object));
    }
    let ours = containers.iter().filter(|container| container.runs_tidegate());
    assert_eq!(ours.count(), 7, "four services and three of Kubernetes: {containers:#?}");
    containers
}

fn compose() -> Value {
    documents(&read("compose.yaml")).remove(0)
}

fn compose_of(text: &str) -> Vec<Container> {
    container::of_compose("planted", &documents(text)[0])
}

fn dockerfile() -> Image {
    Image::parse(&read("Dockerfile"))
}

/// All objects of the base, with their files.
fn objects() -> Vec<(String, Value)> {
    let mut objects = Vec::new();
    for file in files_below(&repository().join(BASE), "yaml") {
        let name = file.strip_prefix(repository()).unwrap().display().to_string();
        objects.extend(documents(&read(&name)).into_iter().map(|object| (name.clone(), object)));
    }
    objects
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            files.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn assert_none<T: std::fmt::Debug>(faults: impl IntoIterator<Item = T>) {
    let faults: Vec<_> = faults.into_iter().collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
