//! What the `Content-Type` of an upload says about its file.

use axum::http::{HeaderMap, header};
use encoding_rs::Encoding;
use tidegate_core::syntax::{Delimiter, Dialect, Syntax, encoding_of};

use super::Problem;

/// The parameters of `text/csv` (RFC 7111) that say how a file is written, and `delimiter`, which the RFC does not have.
/// What is not said is as in the manifest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CsvParameters {
    header: Option<bool>,
    encoding: Option<&'static Encoding>,
    delimiter: Option<u8>,
}

impl CsvParameters {
    /// Reads the parameters of the `Content-Type`. Parameters of other names are left to others.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let mut parameters = Self::default();
        for (name, value) in parameters_of(given.unwrap_or_default()) {
            match name.to_ascii_lowercase().as_str() {
                "header" => parameters.header = Some(is_present(&value)?),
                "charset" => parameters.encoding = Some(encoding(&value)?),
                "delimiter" => parameters.delimiter = Some(delimiter(&value)?),
                _ => {}
            }
        }
        Ok(parameters)
    }

    /// The syntax of the file; `None` if it is the manifest's.
    pub(super) fn syntax(&self, manifest: &Syntax) -> Result<Option<Syntax>, Problem> {
        let mut syntax = manifest.clone();
        syntax.header = self.header.unwrap_or(syntax.header);
        syntax.encoding = self.encoding.unwrap_or(syntax.encoding);
        if let Some(delimiter) = self.delimiter {
            if let Some(clash) = clash(delimiter, &syntax) {
                return Err(Problem::bad_request(format!("the delimiter in Content-Type {clash}")));
            }
            syntax.dialect.delimiter = Delimiter::Byte(delimiter);
        }
        Ok((syntax != *manifest).then_some(syntax))
    }

    /// The parameters as bytes, which differ if the parameters do. None without parameters. They are kept as a part of
    /// what a client has sent under a key.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        if let Some(is_present) = self.header {
            text += if is_present { "header=present;" } else { "header=absent;" };
        }
        if let Some(encoding) = self.encoding {
            text += &format!("charset={};", encoding.name());
        }
        if let Some(delimiter) = self.delimiter {
            text += &format!("delimiter={delimiter};");
        }
        text.into_bytes()
    }
}

/// Why a delimiter does not fit the other settings of the manifest.
fn clash(delimiter: u8, syntax: &Syntax) -> Option<&'static str> {
    let Syntax { dialect, comment, .. } = syntax;
    let Dialect { quote, escape, trim, .. } = dialect;
    if matches!(dialect.delimiter, Delimiter::Widths(_)) {
        return Some("means nothing here: the columns of the dataset have fixed places in the line");
    }
    if [*quote, *escape].contains(&Some(delimiter)) {
        return Some("is the quote or the escape of the dataset");
    }
    if comment.as_ref().is_some_and(|comment| comment.as_bytes() == [delimiter]) {
        return Some("begins the comments of the dataset");
    }
    (*trim && delimiter == b' ').then_some("is a blank, and the dataset's trim leaves blanks out")
}

/// The parameters behind the media type, each with its name and its value without quotes.
fn parameters_of(content_type: &str) -> Vec<(&str, String)> {
    let mut parameters = Vec::new();
    let mut rest = content_type.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            None => match after.split_once(';') {
                Some((value, next)) => (value.trim().to_owned(), next),
                None => (after.trim().to_owned(), ""),
            },
            Some(quoted) => quoted_value(quoted),
        };
        // What has no value is no parameter.
        let name = name.rsplit(';').next().unwrap_or_default();
        parameters.push((name.trim(), value));
        rest = next;
    }
    parameters
}

/// The value before the closing quote, where a backslash stands before a quote that is part of it; and what follows.
fn quoted_value(text: &str) -> (String, &str) {
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, character) in text.char_indices() {
        match character {
            '"' if !is_escaped => return (value, &text[at + 1..]),
            '\\' if !is_escaped => is_escaped = true,
            _ => {
                value.push(character);
                is_escaped = false;
            }
        }
    }
    (value, "")
}

fn is_present(value: &str) -> Result<bool, Problem> {
    match value.to_ascii_lowercase().as_str() {
        "present" => Ok(true),
        "absent" => Ok(false),
        _ => Err(Problem::bad_request("the parameter header of Content-Type is 'present' or 'absent'")),
    }
}

fn encoding(label: &str) -> Result<&'static Encoding, Problem> {
    encoding_of(label).ok_or_else(|| {
        Problem::bad_request(
            "the parameter charset of Content-Type is no label of the WHATWG's Encoding Standard",
        )
    })
}

fn delimiter(value: &str) -> Result<u8, Problem> {
    match value.as_bytes() {
        // A letter is what is left of "\t", where the backslash stands for nothing.
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !matches!(byte, b'\r' | b'\n' | 0) => {
            Ok(*byte)
        }
        b"tab" => Ok(b'\t'),
        _ => Err(Problem::bad_request(
            "the parameter delimiter of Content-Type is one ASCII character in quotes that is no letter or digit, such as \
             \";\", or tab",
        )),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(content_type: &'static str) -> Option<CsvParameters> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        CsvParameters::of(&headers).ok()
    }

    #[test]
    fn a_delimiter_that_clashes_with_the_manifest_is_refused() {
        let dialect = |dialect: Dialect| Syntax { dialect, ..Syntax::default() };
        let widths = Delimiter::Widths(Vec::new());
        for (delimiter, syntax, is_refused) in [
            (b';', Syntax::default(), false),
            (b'"', Syntax::default(), true),
            (b'#', Syntax { comment: Some("#".to_owned()), ..Syntax::default() }, true),
            (b';', dialect(Dialect { delimiter: widths, ..Dialect::STANDARD }), true),
            (b' ', dialect(Dialect { trim: true, ..Dialect::STANDARD }), true),
        ] {
            let parameters = CsvParameters { delimiter: Some(delimiter), ..CsvParameters::default() };
            assert_eq!(parameters.syntax(&syntax).is_err(), is_refused, "{syntax:?}");
        }
    }

    #[test]
    fn parameters_are_read_in_any_order_and_case_with_and_without_quotes() {
        let expected = CsvParameters {
            header: Some(true),
            encoding: Some(encoding_rs::WINDOWS_1252),
            delimiter: Some(b';'),
        };
        for content_type in [
            "text/csv; header=present; charset=latin1; delimiter=\";\"",
            "text/csv;CHARSET=\"ISO-8859-1\";delimiter=\"\\;\"; Header=Present",
            "text/csv; strict; header=present; charset=latin1; delimiter=\";\"",
        ] {
            assert_eq!(read(content_type).as_ref(), Some(&expected), "{content_type}");
        }
        assert_eq!(read("text/csv"), Some(CsvParameters::default()));
        assert_eq!(read("multipart/form-data; boundary=\"a;b\""), Some(CsvParameters::default()));
        assert_eq!(read("text/csv; delimiter=tab").and_then(|read| read.delimiter), Some(b'\t'));
        for content_type in [
            "text/csv; header=maybe",
            "text/csv; charset=klingon",
            "text/csv; charset=x-user-defined",
            "text/csv; delimiter=ab",
            "text/csv; delimiter=\"\\t\"",
        ] {
            assert_eq!(read(content_type), None, "{content_type}");
        }
    }
}
