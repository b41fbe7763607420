//! The files of `sql/views`: what they say, and which stands behind which.

use super::super::Error;
use super::super::table::quoted;

/// A view as its file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The name of the file and of the relation.
    pub name: String,
    /// The whole file.
    pub definition: String,
    pub(super) store: Option<StoreQuery>,
    /// The view whose store the query reads; its own where it has one.
    pub(super) store_of: Option<String>,
    pub(super) query: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoreQuery {
    pub(super) table: String,
    pub(super) keys: Vec<String>,
    pub(super) query: String,
}

/// The longest name of a view, so that the names made from it are within Postgres's 63 bytes.
const NAME_BYTES_MAX: usize = 40;
impl View {
    /// Reads the text of a view's file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with its line.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !is_name || name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(format!(
                "'{name}' is no name for a view: use a-z, 0-9 and _, at most {NAME_BYTES_MAX}"
            ));
        }
        let (mut store, mut query) = (None::<StoreQuery>, None::<String>);
        let mut store_of = None;
        let mut part: Option<&mut String> = None;
        for (i, line) in text.lines().enumerate() {
            let fault = |message: &str| format!("line {}: {message}", i + 1);
            if let Some(head) = line.strip_prefix("-- store:") {
                let (table, keys) = head
                    .split_once(" by ")
                    .ok_or_else(|| fault("write '-- store: TABLE by COLUMN, COLUMN'"))?;
                let keys = keys.split(',').map(|key| key.trim().to_owned()).collect();
                let table = table.trim().to_owned();
                part = Some(&mut store.insert(StoreQuery { table, keys, query: String::new() }).query);
            } else if let Some(of) = view_head(line) {
                store_of = of;
                part = Some(query.insert(String::new()));
            } else if let Some(part) = &mut part {
                part.push_str(line);
                part.push('\n');
            } else if !(line.trim().is_empty() || line.starts_with("--")) {
                return Err(fault("a query stands before '-- store: ...' or '-- view'"));
            }
        }
        if let Some(store) = &store {
            check_store(store)?;
        }
        let query = query.filter(|query| !query.trim().is_empty()).ok_or("the part '-- view' is missing")?;
        if store.is_some() {
            store_of = Some(name.to_owned());
        }
        Ok(Self { name: name.to_owned(), definition: text.to_owned(), store, store_of, query })
    }

    /// Whether the text of this view names another.
    fn mentions(&self, other: &Self) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        self.store_of.as_ref() == Some(&other.name)
            || self.query.split(|c| !is_word(c)).any(|word| word == other.name)
    }

    pub(super) fn function_name(&self) -> String {
        format!("tidegate.{}", quoted(&format!("view_{}_change", self.name)))
    }
}

/// Refuses what the sum of changes cannot keep up to date.
fn check_store(store: &StoreQuery) -> Result<(), String> {
    const NOT_ADDITIVE: [&str; 14] = [
        "avg",
        "min",
        "max",
        "distinct",
        "having",
        "join",
        "limit",
        "over",
        "union",
        "intersect",
        "except",
        "array_agg",
        "string_agg",
        "now",
    ];
    let without_comments = store.query.lines().map(|line| line.split("--").next().unwrap_or_default());
    let code = without_comments.collect::<Vec<_>>().join("\n");
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut words = code.split(|c| !is_word(c)).map(str::to_lowercase);
    if let Some(word) = words.find(|word| NOT_ADDITIVE.contains(&word.as_str())) {
        return Err(format!(
            "the store uses '{word}', but it may only count and sum over its own table; use it in '-- view'"
        ));
    }
    if code.contains(&format!(".{}", store.table)) {
        return Err(format!("the store names '{}' with its schema; name the table alone", store.table));
    }
    Ok(())
}

/// What follows `-- view`: `of` whose store, or nothing. `None` if the line is something else.
fn view_head(line: &str) -> Option<Option<String>> {
    let of = line.strip_prefix("-- view")?.trim();
    match of.strip_prefix("of ") {
        Some(name) => Some(Some(name.trim().to_owned())),
        None => of.is_empty().then_some(None),
    }
}

/// Puts each view behind those that it is made of.
pub(super) fn in_order(mut views: Vec<View>) -> Result<Vec<View>, Error> {
    let mut ordered: Vec<View> = Vec::with_capacity(views.len());
    views.sort_by(|a, b| a.name.cmp(&b.name));
    while !views.is_empty() {
        let is_ready = |view: &View| !views.iter().any(|other| other != view && view.mentions(other));
        let Some(next) = views.iter().position(is_ready) else {
            let names: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
            return Err(Error::halt(format!("the views {} are made of each other", names.join(", "))));
        };
        ordered.push(views.remove(next));
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_store_and_a_view_or_a_view_alone() {
        let view = View::parse("v", "-- about\n-- store: t by a, b\nselect 1\n-- view\nselect 2\n").unwrap();
        let store = view.store.unwrap();
        assert_eq!((store.table.as_str(), store.query.as_str()), ("t", "select 1\n"));
        assert_eq!((store.keys, view.query.as_str()), (vec!["a".into(), "b".into()], "select 2\n"));
        assert_eq!(View::parse("v", "-- view\nselect 2").unwrap().store, None);
        assert_eq!(View::parse("v", "-- view of w\nselect 2").unwrap().store_of.as_deref(), Some("w"));
        let fault = |text| View::parse("v", text).unwrap_err();
        assert_eq!(fault("select 1"), "line 1: a query stands before '-- store: ...' or '-- view'");
        assert_eq!(fault("-- store: t\n"), "line 1: write '-- store: TABLE by COLUMN, COLUMN'");
        assert_eq!(fault(""), "the part '-- view' is missing");
        assert!(fault("-- store: t by a\nselect a, Max(b) from t\n").starts_with("the store uses 'max'"));
        assert!(fault("-- store: t by a\nselect a from s.t\n").contains("with its schema"));
        assert!(View::parse("../v", "-- view\nselect 2").is_err());
    }

    #[test]
    fn views_stand_behind_those_they_are_made_of() {
        let view = |name: &str, query: &str| View::parse(name, &format!("-- view\n{query}")).unwrap();
        let ordered =
            in_order(vec![view("a", "select * from b"), view("b", "select 1"), view("c", "select 1")])
                .unwrap();
        let names: Vec<_> = ordered.iter().map(|view| view.name.as_str()).collect();
        assert_eq!(names, ["b", "a", "c"]);
        assert!(in_order(vec![view("a", "select * from b"), view("b", "select * from a")]).is_err());
    }
}
