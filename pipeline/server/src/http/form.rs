//! Forms: `multipart/form-data` as in RFC 7578. The bytes before, between and after the parts are limited, and the
//! content of a part is read piece by piece. Therefore a form takes the same memory whatever it contains.

use axum::http::{HeaderMap, header};
use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use super::Problem;
use super::body::BodyChunks;

/// How many bytes may come before the first part, in the head of each part, and after the last one.
const AROUND_BYTES_MAX: usize = 16 << 10;
const BOUNDARY_CHARS_MAX: usize = 70;

/// A form that is being read.
pub(super) struct Form {
    chunks: BodyChunks,
    /// Bytes that have come and are not used yet.
    buffer: BytesMut,
    /// The delimiter before each part and at the end: an end of line, two hyphens and the boundary.
    delimiter: Vec<u8>,
    state: FormState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FormState {
    /// Before the first part.
    Before,
    /// In the content of a part.
    Within,
    /// After the delimiter that ends a part.
    Between,
}

/// The names in the head of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FormPart {
    /// The name of the field.
    pub(super) name: Option<String>,
    /// The name of the file.
    pub(super) file_name: Option<String>,
}

impl Form {
    /// The form of a request with these headers. Fails if they name no boundary.
    pub(super) fn new(headers: &HeaderMap, chunks: BodyChunks) -> Result<Self, Problem> {
        let kind =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let boundary =
            parameters(kind).find_map(|(name, value)| name.eq_ignore_ascii_case("boundary").then_some(value));
        let boundary = boundary.filter(|boundary| (1..=BOUNDARY_CHARS_MAX).contains(&boundary.len()));
        let Some(boundary) = boundary else {
            return Err(faulty("its Content-Type has no boundary of 1 to 70 characters"));
        };
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The first delimiter may come at the very beginning, without an end of line.
        Ok(Self { chunks, buffer: BytesMut::from(&b"\r\n"[..]), delimiter, state: FormState::Before })
    }

    /// Returns the next part; `None` after the last one. The content of the part before must have been read to its end.
    /// Fails if the client is gone, the body is not a valid form, or it has too many bytes around its parts.
    pub(super) async fn next_part(&mut self) -> Result<Option<FormPart>, Problem> {
        if self.state == FormState::Before {
            let mut passed = 0;
            while !self.skip_to_delimiter(&mut passed)? {
                self.more("before its first part").await?;
            }
            self.state = FormState::Between;
        }
        while self.buffer.len() < 2 {
            self.more("behind a boundary").await?;
        }
        if self.buffer.starts_with(b"--") {
            self.drain().await?;
            return Ok(None);
        }
        let head = self.head().await?;
        self.state = FormState::Within;
        Ok(Some(part(&head)?))
    }

    /// Returns a piece of the content of a part; `None` at its end. Fails if the client is gone, or the form ends
    /// within the part.
    pub(super) async fn next_piece(&mut self) -> Result<Option<Bytes>, Problem> {
        while self.state == FormState::Within {
            if let Some(at) = memmem::find(&self.buffer, &self.delimiter) {
                let content = self.buffer.split_to(at).freeze();
                self.buffer.advance(self.delimiter.len());
                self.state = FormState::Between;
                return Ok(Some(content).filter(|content| !content.is_empty()));
            }
            let is_content = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if is_content > 0 {
                return Ok(Some(self.buffer.split_to(is_content).freeze()));
            }
            self.more("within a part").await?;
        }
        Ok(None)
    }

    /// Skips to after the first delimiter, if it has come. `passed` counts the bytes before it.
    fn skip_to_delimiter(&mut self, passed: &mut usize) -> Result<bool, Problem> {
        let found = memmem::find(&self.buffer, &self.delimiter);
        let before = found.unwrap_or_else(|| self.buffer.len().saturating_sub(self.delimiter.len() - 1));
        *passed += before;
        if *passed > AROUND_BYTES_MAX {
            return Err(too_much("before its first part"));
        }
        self.buffer.advance(before + found.map_or(0, |_| self.delimiter.len()));
        Ok(found.is_some())
    }

    /// Reads what is between a delimiter and the content of its part: header lines and an empty line.
    async fn head(&mut self) -> Result<Bytes, Problem> {
        let mut looked = 0;
        loop {
            let end = memmem::find(&self.buffer[looked..], b"\r\n\r\n").map(|at| looked + at);
            if end.unwrap_or(self.buffer.len()) > AROUND_BYTES_MAX {
                return Err(too_much("in the head of a part"));
            }
            if let Some(end) = end {
                let head = self.buffer.split_to(end).freeze();
                self.buffer.advance(4);
                return Ok(head);
            }
            looked = self.buffer.len().saturating_sub(3);
            self.more("within the head of a part").await?;
        }
    }

    /// Reads what comes after the last part. It is ignored, and may be torn.
    async fn drain(&mut self) -> Result<(), Problem> {
        let mut behind = self.buffer.len();
        while behind <= AROUND_BYTES_MAX {
            match self.chunks.next().await? {
                Some(chunk) => behind += chunk.len(),
                None => return Ok(()),
            }
        }
        Err(too_much("behind its last part"))
    }

    async fn more(&mut self, place: &str) -> Result<(), Problem> {
        let chunk = self.chunks.next().await?;
        let chunk = chunk.ok_or_else(|| faulty(format!("it ends {place}")))?;
        self.buffer.extend_from_slice(&chunk);
        Ok(())
    }
}

fn faulty(what: impl std::fmt::Display) -> Problem {
    Problem::bad_request(format!("the form cannot be read: {what}"))
}

fn too_much(place: &str) -> Problem {
    Problem::too_large(format!("the form has more than {AROUND_BYTES_MAX} bytes {place}"))
}

/// Parses the head of a part.
fn part(head: &[u8]) -> Result<FormPart, Problem> {
    let head = std::str::from_utf8(head).map_err(|_| faulty("the head of a part is not UTF-8"))?;
    let mut lines = head.split("\r\n");
    // Only blanks may follow a boundary in its line.
    if lines.next().is_some_and(|behind| !behind.trim_matches([' ', '\t']).is_empty()) {
        return Err(faulty("a boundary goes on in its line"));
    }
    let mut named = FormPart { name: None, file_name: None };
    for line in lines {
        let (name, value) =
            line.split_once(':').ok_or_else(|| faulty("a line of a part's head has no colon"))?;
        let name = name.trim();
        if name.eq_ignore_ascii_case("content-transfer-encoding") {
            let value = value.trim();
            if !["7bit", "8bit", "binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain)) {
                return Err(faulty("a part has a Content-Transfer-Encoding: send its content as it is"));
            }
        }
        if !name.eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        for (name, value) in parameters(value) {
            match name.to_ascii_lowercase().as_str() {
                "name" => named.name = Some(value),
                "filename" => named.file_name = Some(value),
                _ => {}
            }
        }
    }
    Ok(named)
}

/// The parameters of a header's value, which follow its first semicolon.
fn parameters(value: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = value.split_once(';').map_or("", |(_, rest)| rest);
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let (name, behind) = rest.split_once('=')?;
        let value = match behind.trim_start().strip_prefix('"') {
            Some(quoted) => {
                let (value, behind) = unquoted(quoted);
                rest = behind;
                value
            }
            None => {
                let (value, behind) = behind.split_once(';').unwrap_or((behind, ""));
                rest = behind;
                value.trim().to_owned()
            }
        };
        Some((name.trim(), value))
    })
}

/// A text up to its closing quote, and what follows the quote. A backslash escapes a quote or a backslash. Elsewhere it
/// stands for itself, as in the paths that old browsers have sent.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' if characters.peek().is_some_and(|(_, next)| matches!(next, '"' | '\\')) => {
                value.extend(characters.next().map(|(_, next)| next));
            }
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use futures_util::stream;

    use super::*;

    /// Reads the parts of a form, with their contents, from a body in pieces of `size` bytes.
    async fn read(body: &[u8], size: usize) -> Result<Vec<(FormPart, Vec<u8>)>, Problem> {
        let pieces: Vec<Result<Bytes, Infallible>> =
            body.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            "multipart/form-data; charset=utf-8; boundary=\"b d\"".parse().unwrap(),
        );
        let mut form = Form::new(&headers, BodyChunks::new(Body::from_stream(stream::iter(pieces))))?;
        let mut parts = Vec::new();
        while let Some(part) = form.next_part().await? {
            let mut content = Vec::new();
            while let Some(piece) = form.next_piece().await? {
                content.extend_from_slice(&piece);
            }
            parts.push((part, content));
        }
        Ok(parts)
    }

    const BODY: &str = "not of it\r\n--b d \t\r\nContent-Type: text/csv\r\ncontent-disposition: form-data; name=file; \
                        filename=\"C:\\a\\\"b;c.csv\"\r\n\r\n1,A\r\n--b\r\n2,B\r\n\r\n--b d\r\n\
                        Content-Disposition: form-data; name=\"x\"\r\n\r\n\r\n--b d--\r\nnor this";

    #[tokio::test]
    async fn parts_are_the_same_wherever_the_pieces_end() {
        for size in 1..BODY.len() {
            let parts = read(BODY.as_bytes(), size).await.unwrap();
            let [(file, content), (other, none)] = &parts[..] else { panic!("{parts:?}") };
            assert_eq!(file.name.as_deref(), Some("file"), "{size}");
            assert_eq!(file.file_name.as_deref(), Some("C:\\a\"b;c.csv"), "{size}");
            assert_eq!(content, b"1,A\r\n--b\r\n2,B\r\n", "{size}");
            assert_eq!((other.name.as_deref(), none.len()), (Some("x"), 0), "{size}");
        }
    }

    #[tokio::test]
    async fn a_form_that_is_torn_is_refused_wherever_that_is() {
        let end = BODY.find("--\r\nnor").unwrap() + 2;
        for length in 0..end {
            assert!(read(&BODY.as_bytes()[..length], 5).await.is_err(), "{length}");
        }
        assert_eq!(read(&BODY.as_bytes()[..end], 5).await.unwrap().len(), 2);
        let encoded = "--b d\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--b d--";
        for body in ["--b dx\r\n\r\n", "--b d\r\nno colon\r\n\r\nx\r\n--b d--", encoded] {
            assert!(read(body.as_bytes(), 64).await.is_err(), "{body}");
        }
    }

    #[tokio::test]
    async fn what_is_around_parts_is_bounded() {
        let much = "x".repeat(4 * AROUND_BYTES_MAX);
        for body in [
            format!("{much}{BODY}"),
            format!("--b d\r\nx: {much}\r\n\r\n1,A\r\n--b d--"),
            format!("{BODY}{much}"),
        ] {
            for size in [100, AROUND_BYTES_MAX, body.len()] {
                let problem = format!("{:?}", read(body.as_bytes(), size).await.unwrap_err());
                assert!(problem.contains("too-large"), "{problem}");
            }
        }
    }
}
