//! How a field of a canonical line is written.

use memchr::{memchr, memchr3};

/// Appends `field` to a canonical line: RFC 4180, quoted only where it must be.
pub fn write_field(field: &[u8], out: &mut Vec<u8>) {
    if memchr3(b',', b'"', b'\n', field).is_none() && memchr(b'\r', field).is_none() {
        return out.extend_from_slice(field);
    }
    write_quoted(field, out);
}

/// Appends `field` in quotes.
pub fn write_quoted(field: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for (i, part) in field.split(|byte| *byte == b'"').enumerate() {
        if i > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part);
    }
    out.push(b'"');
}
