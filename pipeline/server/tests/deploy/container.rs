//! What compose and Kubernetes are asked to run.

use std::collections::BTreeMap;

use serde_json::Value;

/// A container, as one of the files describes it.
#[derive(Debug, Default)]
pub(crate) struct Container {
    /// The file and the name there, for messages.
    pub(crate) place: String,
    pub(crate) image: String,
    /// What takes the place of the image's entry point.
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) arguments: Vec<String>,
    /// What is run inside it to see how it is, with the word before it that says how.
    pub(crate) probes: Vec<Vec<String>>,
    /// Names of variables, and their values where they stand in the file.
    pub(crate) environment: BTreeMap<String, Option<String>>,
    /// The user, if the file says one.
    pub(crate) user: Option<String>,
}

impl Container {
    /// Whether it runs the image of the Dockerfile, under whatever registry.
    pub(crate) fn runs_tidegate(&self) -> bool {
        let image = resolved(&self.image);
        let name = image.rsplit('/').next().unwrap_or_default();
        name.split([':', '@']).next() == Some("tidegate")
    }
}

/// All documents of a YAML file.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The services of a compose file.
pub(crate) fn of_compose(file: &str, compose: &Value) -> Vec<Container> {
    let services = compose["services"].as_object().expect("a compose file has services");
    services
        .iter()
        .map(|(name, service)| {
            let environment = match &service["environment"] {
                Value::Array(list) => list.iter().map(|entry| assignment(&text(entry))).collect(),
                mapping => pairs(mapping),
            };
            let probe = words(&service["healthcheck"]["test"]);
            Container {
                place: format!("{file}, service {name}"),
                image: text(&service["image"]),
                entrypoint: present(&service["entrypoint"]).map(words),
                arguments: words(&service["command"]),
                probes: if probe.is_empty() { Vec::new() } else { vec![probe] },
                environment,
                user: present(&service["user"]).map(text),
            }
        })
        .collect()
}

/// The containers of a manifest of Kubernetes, if it is of a kind that has any.
pub(crate) fn of_kubernetes(file: &str, object: &Value) -> Vec<Container> {
    let pod = &object["spec"]["template"]["spec"];
    let lists = [&pod["initContainers"], &pod["containers"]];
    let containers = lists.into_iter().filter_map(Value::as_array).flatten();
    containers
        .map(|container| {
            let probe = |key: &str| {
                let command = words(&container[key]["exec"]["command"]);
                (!command.is_empty()).then(|| [vec!["CMD".to_owned()], command].concat())
            };
            let user = ["runAsUser"]
                .into_iter()
                .flat_map(|key| [&container["securityContext"][key], &pod["securityContext"][key]])
                .find_map(present);
            let environment = container["env"].as_array().into_iter().flatten();
            Container {
                place: format!("{file}, container {}", text(&container["name"])),
                image: text(&container["image"]),
                entrypoint: present(&container["command"]).map(words),
                arguments: words(&container["args"]),
                probes: ["startupProbe", "readinessProbe", "livenessProbe"]
                    .into_iter()
                    .filter_map(probe)
                    .collect(),
                environment: environment
                    .map(|entry| (text(&entry["name"]), present(&entry["value"]).map(text)))
                    .collect(),
                user: user.map(text),
            }
        })
        .collect()
}

/// A value with the defaults of its variables in their place, as compose fills it in: `${SINKS:-1}` is `1`.
pub(crate) fn resolved(value: &str) -> String {
    let mut result = String::new();
    let mut rest = value;
    while let Some((before, variable, after)) = next_variable(rest) {
        result.push_str(before);
        result.push_str(variable.split_once(":-").map_or("", |(_, default)| default));
        rest = after;
    }
    result + rest
}

/// The names of the variables in a value.
pub(crate) fn variables(value: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = value;
    while let Some((_, variable, after)) = next_variable(rest) {
        names.push(variable.split(':').next().unwrap_or_default().to_owned());
        rest = after;
    }
    names
}

/// What stands before, inside and after the first `${…}`.
fn next_variable(value: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = value.split_once("${")?;
    let (variable, after) = rest.split_once('}')?;
    Some((before, variable, after))
}

/// All texts in a value, with the keys that lead to them.
pub(crate) fn texts(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(mapping) => {
            mapping.iter().for_each(|(key, value)| texts(value, &format!("{path}.{key}"), found));
        }
        Value::Array(list) => list.iter().for_each(|value| texts(value, path, found)),
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        _ => {}
    }
}

/// A command as the file writes it: a list, or one text.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::Array(list) => list.iter().map(text).collect(),
        Value::String(line) => line.split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn pairs(mapping: &Value) -> BTreeMap<String, Option<String>> {
    let entries = mapping.as_object().into_iter().flatten();
    entries.map(|(name, value)| (name.clone(), present(value).map(text))).collect()
}

fn assignment(entry: &str) -> (String, Option<String>) {
    match entry.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (entry.to_owned(), None),
    }
}

fn present(value: &Value) -> Option<&Value> {
    (!value.is_null()).then_some(value)
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}
