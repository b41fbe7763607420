//! Bodies in gzip.
//!
//! **A body of gzip is all of its members.** In RFC 1952 a file is one member or several in a row, and tools that
//! compress piece by piece write several. If a member is torn, or the last one is followed by bytes that are no member,
//! the request is refused: what was decoded until then may be only half of the content.

use std::error::Error as _;
use std::io;

use async_compression::tokio::bufread::GzipDecoder;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use tokio_util::io::{ReaderStream, StreamReader};

use super::Problem;
use super::body::unsupported;

/// How many bytes are decoded at once.
const PIECE_BYTES: usize = 16 << 10;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Unknown,
}

impl Coding {
    /// The coding that the headers name. A list of several codings is not supported.
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::CONTENT_ENCODING).iter();
        let named = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let named = named.map(|name| name.trim_ascii().to_ascii_lowercase()).filter(|name| !name.is_empty());
        match named.collect::<Vec<_>>().as_slice() {
            [] => Self::Identity,
            [name] if name == b"identity" => Self::Identity,
            // `x-gzip` is the older name of gzip.
            [name] if name == b"gzip" || name == b"x-gzip" => Self::Gzip,
            _ => Self::Unknown,
        }
    }
}

/// Decodes gzip for the handlers, and refuses other encodings.
pub(super) async fn decode(mut request: Request, next: Next) -> Response {
    match Coding::of(request.headers()) {
        Coding::Identity => next.run(request).await,
        Coding::Gzip => {
            request.headers_mut().remove(header::CONTENT_ENCODING);
            request.headers_mut().remove(header::CONTENT_LENGTH);
            next.run(request.map(decoded)).await
        }
        Coding::Unknown => unsupported("send it as it is, or with Content-Encoding: gzip").into_response(),
    }
}

/// All members of a body, decoded piece by piece.
fn decoded(body: Body) -> Body {
    let packed = body.into_data_stream().map_err(|error| io::Error::other(Ended(error)));
    let mut decoder = GzipDecoder::new(StreamReader::new(packed));
    decoder.multiple_members(true);
    let pieces = ReaderStream::with_capacity(decoder, PIECE_BYTES);
    let no_gzip = |why| io::Error::new(io::ErrorKind::InvalidData, InvalidGzip(why));
    Body::from_stream(pieces.map_err(move |error| match error.get_ref() {
        Some(inner) if inner.is::<Ended>() => error,
        _ if error.kind() == io::ErrorKind::UnexpectedEof => no_gzip("it ends within a member".to_owned()),
        _ => no_gzip(error.to_string()),
    }))
}

/// The client was gone before the end of the body.
#[derive(Debug, thiserror::Error)]
#[error("the body ended early: {0}")]
struct Ended(axum::Error);

/// The body is not valid gzip.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct InvalidGzip(String);

/// The problem of a body that cannot be read to its end: 400.
pub(super) fn broken(error: &axum::Error) -> Problem {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let no_gzip = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(no_gzip) = no_gzip.and_then(|inner| inner.downcast_ref::<InvalidGzip>()) {
            return Problem::bad_request(format!(
                "the body is not gzip from its beginning to its end: {no_gzip}; send whole members of gzip, with \
                 nothing behind the last one"
            ));
        }
        cause = inner.source();
    }
    Problem::bad_request("the body ended early; send it again, whole")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write;

    use axum::body::to_bytes;
    use bytes::Bytes;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures_util::stream;

    use super::*;

    fn member(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// Decodes a body that comes in pieces of `size` bytes.
    async fn decode_pieces(packed: &[u8], size: usize) -> Result<Bytes, Problem> {
        let pieces: Vec<Result<Bytes, Infallible>> =
            packed.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let body = decoded(Body::from_stream(stream::iter(pieces)));
        to_bytes(body, usize::MAX).await.map_err(|error| broken(&error))
    }

    #[tokio::test]
    async fn all_members_are_read_wherever_the_pieces_end() {
        let members = [member(b"1,One\n"), member(b""), member(b"2,Two\n"), member(&[b'x'; 40_000])];
        let packed = members.concat();
        let expected = [b"1,One\n2,Two\n".as_slice(), &[b'x'; 40_000]].concat();
        for size in (1..40).chain([packed.len()]) {
            assert_eq!(decode_pieces(&packed, size).await.unwrap(), expected, "{size}");
        }
        // Each member is a piece.
        let pieces = members.map(|member| Ok::<_, Infallible>(Bytes::from(member)));
        let body = decoded(Body::from_stream(stream::iter(pieces)));
        assert_eq!(to_bytes(body, usize::MAX).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn what_is_torn_or_stands_behind_the_last_member_is_an_error() {
        let whole = [member(b"1,One\n"), member(b"2,Two\n")].concat();
        let first = member(b"1,One\n").len();
        for size in [1, 7, whole.len()] {
            // A body that ends with its first member is valid.
            for length in (1..whole.len()).filter(|length| *length != first) {
                let problem = decode_pieces(&whole[..length], size).await;
                let problem = format!("{:?}", problem.unwrap_err());
                assert!(problem.contains("not gzip from its beginning"), "{length}: {problem}");
            }
            for behind in [b"\0".as_slice(), &[0; 512], b"garbage", b"\x1f", b"\x1f\x8b", &whole[..first - 1]]
            {
                let torn = [&whole, behind].concat();
                assert!(decode_pieces(&torn, size).await.is_err(), "{behind:?}");
            }
            for at in [first - 1, first - 6, whole.len() - 2] {
                let mut damaged = whole.clone();
                damaged[at] ^= 1;
                assert!(decode_pieces(&damaged, size).await.is_err(), "{at}");
            }
        }
    }

    #[test]
    fn codings_are_read_in_every_spelling_and_only_one() {
        let coding = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            Coding::of(&headers)
        };
        for identity in [&[][..], &["identity"], &[""], &["Identity "]] {
            assert_eq!(coding(identity), Coding::Identity, "{identity:?}");
        }
        for gzip in [&["gzip"][..], &["GZIP"], &["x-gzip"], &[" gzip "]] {
            assert_eq!(coding(gzip), Coding::Gzip, "{gzip:?}");
        }
        for unknown in
            [&["br"][..], &["deflate"], &["zstd"], &["gzip, gzip"], &["gzip", "br"], &["gzip, identity"]]
        {
            assert_eq!(coding(unknown), Coding::Unknown, "{unknown:?}");
        }
    }
}
