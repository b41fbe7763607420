//! What the Dockerfile and `.dockerignore` say.

/// A Dockerfile, as far as the tests look.
#[derive(Debug, Default)]
pub(crate) struct Image {
    /// The images that stages begin with, stages of the file itself left out.
    pub(crate) bases: Vec<String>,
    /// What is copied from the repository.
    pub(crate) sources: Vec<String>,
    /// Variables of the last stage.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) user: Option<String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
}

impl Image {
    pub(crate) fn parse(text: &str) -> Self {
        let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        let text = lines.join("\n").replace("\\\n", " ");
        let mut image = Self::default();
        let mut stages = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let words: Vec<_> = rest.split_whitespace().map(str::to_owned).collect();
            match instruction.to_ascii_uppercase().as_str() {
                "FROM" => {
                    let base = words.iter().find(|word| !word.starts_with("--")).cloned().unwrap_or_default();
                    if !stages.contains(&base) {
                        image.bases.push(base);
                    }
                    stages.extend(words.last().cloned());
                    // A stage has nothing of the one before but what it copies.
                    image.environment.clear();
                    image.user = None;
                }
                "COPY" | "ADD" if !rest.contains("--from=") => {
                    let paths: Vec<_> = words.into_iter().filter(|word| !word.starts_with("--")).collect();
                    image.sources.extend(paths.iter().take(paths.len().saturating_sub(1)).cloned());
                }
                "ENV" => image.environment.extend(
                    words
                        .iter()
                        .filter_map(|word| word.split_once('='))
                        .map(|(n, v)| (n.to_owned(), v.to_owned())),
                ),
                "USER" => image.user = Some(rest.trim().to_owned()),
                "ENTRYPOINT" => image.entrypoint = list(rest),
                "CMD" => image.command = list(rest),
                _ => {}
            }
        }
        image
    }
}

/// The form that is run as it stands. The other one needs a shell, which the image has not.
fn list(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text} is no list: {error}"))
}

/// Whether `.dockerignore` keeps a path of the repository from the builder: the last line that fits decides.
pub(crate) fn ignored(dockerignore: &str, path: &str) -> bool {
    let mut ignored = false;
    for line in dockerignore.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (pattern, ignores) = line.strip_prefix('!').map_or((line, true), |pattern| (pattern, false));
        let fits = match pattern.strip_prefix("**/") {
            Some(name) => path.split('/').any(|part| part == name),
            None if pattern == "*" => true,
            None => path == pattern || path.starts_with(&format!("{pattern}/")),
        };
        let plain = !pattern.trim_start_matches("**/").contains(['*', '?', '[']) || pattern == "*";
        assert!(plain, "the test does not know the pattern '{pattern}' yet");
        if fits {
            ignored = ignores;
        }
    }
    ignored
}
