//! Decodes a file that is not UTF-8 to text in UTF-8, block by block.
//!
//! **A line of the bytes is a line of the text**: the two have the same number of line feeds, in the same order. Every
//! encoding keeps the line feed for itself, and a line feed that the decoder refuses is written all the same. So the
//! bytes of a line are found by counting, and only if a dead letter needs them.

use std::ops::Range;

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_16BE, UTF_16LE};
use memchr::{memchr, memchr_iter};
use tidegate_core::dead_letter::{Code, Reason};

/// What bytes without a meaning in their encoding become in the text.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
/// The largest number of bytes of text that a byte of the file becomes.
const EXPANSION: usize = 3;
/// What to do about bytes that are no text.
pub(super) const OTHER_ENCODING: &str = "; if the file is in another encoding, set 'encoding' in 'csv'";
/// How many bytes of text may come on top: of bytes that the decoder has kept from the block before.
pub(super) const SPARE_BYTES: usize = 32;

/// Returns the encoding that the byte order mark of a file decides, if the file begins with one.
pub(super) fn marked(head: &[u8]) -> Option<&'static Encoding> {
    Encoding::for_bom(head).map(|(encoding, _)| encoding)
}

/// Decoded text in a buffer of the caller, with the bytes that it was decoded from.
#[derive(Debug)]
pub(super) struct Decoding {
    encoding: &'static Encoding,
    decoder: Decoder,
    /// Bytes of the file. The first is the one of the first character in the buffer, or begins the line of it.
    raw: Vec<u8>,
    /// The offset of `raw` in the file.
    raw_offset: u64,
    /// How many bytes of `raw` were given to the decoder.
    decoded: usize,
    /// The first malformed character of each line, in order.
    malformed: Vec<Malformed>,
    /// The end in the text of the last malformed character.
    malformed_to: usize,
    /// The beginning of a line in the text and in `raw`, from which line feeds are counted.
    counted: LinePlace,
}

/// A character of the text that stands for malformed bytes.
#[derive(Clone, Copy, Debug)]
struct Malformed {
    /// Its place in the text.
    text: usize,
    /// The offset of the bytes in the file.
    offset: u64,
}

/// The same place in the text and in the bytes.
#[derive(Clone, Copy, Debug, Default)]
struct LinePlace {
    text: usize,
    raw: usize,
}

impl Decoding {
    pub(super) fn new(encoding: &'static Encoding) -> Self {
        Self {
            encoding,
            decoder: encoding.new_decoder_without_bom_handling(),
            raw: Vec::new(),
            raw_offset: 0,
            decoded: 0,
            malformed: Vec::new(),
            malformed_to: 0,
            counted: LinePlace::default(),
        }
    }

    /// Returns how large the text of a whole file may become, in bytes.
    pub(super) fn text_bytes_max(size: u64) -> u64 {
        size.saturating_mul(EXPANSION as u64).saturating_add(SPARE_BYTES as u64)
    }

    /// Returns the place for the next block of at most `bytes_max` bytes, whose text must fit in `room` bytes. Asked
    /// again, it returns the same place.
    pub(super) fn block(&mut self, bytes_max: usize, room: usize) -> &mut [u8] {
        let fitting = room.saturating_sub(SPARE_BYTES) / EXPANSION;
        self.raw.resize(self.decoded + bytes_max.min(fitting.max(1)), 0);
        &mut self.raw[self.decoded..]
    }

    /// Decodes the block into `text` from `end` on, and returns the new end of the text. `last` says that the file ends
    /// with the block.
    pub(super) fn decode(&mut self, text: &mut Vec<u8>, mut end: usize, last: bool) -> usize {
        loop {
            let block = &self.raw[self.decoded..];
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(block, &mut text[end..], last);
            self.decoded += read;
            end += written;
            match result {
                DecoderResult::InputEmpty => return end,
                DecoderResult::OutputFull => text.resize(text.len() + SPARE_BYTES, 0),
                DecoderResult::Malformed(length, after) => {
                    let stop = self.decoded.saturating_sub(after.into());
                    let start = stop.saturating_sub(length.into());
                    // A line feed may follow the replacement.
                    if text.len() < end + REPLACEMENT.len() + 1 {
                        text.resize(end + SPARE_BYTES, 0);
                    }
                    end = self.replace(start..stop, text, end);
                }
            }
        }
    }

    /// Writes the replacement of malformed bytes into `text` at `end`, and returns the new end.
    fn replace(&mut self, bytes: Range<usize>, text: &mut [u8], end: usize) -> usize {
        let is_first = self.malformed.is_empty() || memchr(b'\n', &text[self.malformed_to..end]).is_some();
        if is_first {
            self.malformed.push(Malformed { text: end, offset: self.raw_offset + bytes.start as u64 });
        }
        let mut stop = end + REPLACEMENT.len();
        text[end..stop].copy_from_slice(REPLACEMENT);
        self.malformed_to = stop;
        if self.unit_bytes() == 1 && self.raw[bytes].contains(&b'\n') {
            // ISO-2022-JP takes a line feed after a letter of two bytes for malformed. Each of its lines begins in
            // ASCII, so that only this line is lost.
            text[stop] = b'\n';
            stop += 1;
            self.decoder = self.encoding.new_decoder_without_bom_handling();
        }
        stop
    }

    /// Forgets the bytes of the text before `start`, which leaves the buffer.
    pub(super) fn forget(&mut self, text: &[u8], start: usize) {
        let kept = &text[start..];
        let begin = if kept.is_empty() && text.last() != Some(&b'\n') {
            // A line that is too long: its bytes are not needed, except the first byte of a divided unit.
            let odd = (self.raw_offset + self.decoded as u64) % self.unit_bytes() as u64;
            self.decoded.saturating_sub(odd as usize)
        } else {
            let lines = memchr_iter(b'\n', kept).count();
            let line_feeds = memchr_iter(b'\n', &self.raw[..self.decoded]).rev();
            line_feeds.filter_map(|at| self.behind_line_feed(at)).nth(lines).unwrap_or(0)
        };
        self.raw.drain(..begin);
        self.raw_offset += begin as u64;
        self.decoded -= begin;
        self.counted = LinePlace::default();
        let gone = self.malformed.partition_point(|malformed| malformed.text < start);
        self.malformed.drain(..gone);
        self.malformed.iter_mut().for_each(|malformed| malformed.text -= start);
        self.malformed_to = self.malformed_to.saturating_sub(start);
    }

    /// Returns the place of the first malformed character of the text.
    pub(super) fn malformed(&self) -> Option<usize> {
        self.malformed.first().map(|malformed| malformed.text)
    }

    /// Returns why a record of the text is no text, if it is not: it has malformed bytes or a NUL.
    pub(super) fn fault(&mut self, text: &[u8], record: &Range<usize>) -> Option<Reason> {
        let next = self.malformed.partition_point(|malformed| malformed.text < record.start);
        if let Some(malformed) = self.malformed.get(next).copied().filter(|it| it.text < record.end) {
            let start = self.raw_offset + self.place_of(text, record).start as u64;
            let (byte, name) = (malformed.offset.saturating_sub(start) + 1, self.encoding.name());
            let message = format!("byte {byte} of the line is no {name}{OTHER_ENCODING}");
            return Some(Reason::new(Code::InvalidEncoding, None, message, b""));
        }
        let nul = memchr(0, &text[record.clone()])?;
        let before = &text[record.start..record.start + nul];
        // Every character has one byte that continues no other.
        let characters = before.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        let message = format!("character {} of the line is NUL, which Postgres cannot store", characters + 1);
        Some(Reason::new(Code::InvalidCharacter, None, message, b""))
    }

    /// Returns the bytes of a record of the text, as they are in the file, without the line end and the byte order
    /// mark.
    pub(super) fn bytes(&mut self, text: &[u8], record: &Range<usize>) -> &[u8] {
        let place = self.place_of(text, record);
        &self.raw[place]
    }

    fn place_of(&mut self, text: &[u8], record: &Range<usize>) -> Range<usize> {
        if record.start < self.counted.text {
            self.counted = LinePlace::default();
        }
        let LinePlace { text: from, raw } = self.counted;
        let lines = memchr_iter(b'\n', &text[from..record.start]).count();
        let mut start = match lines.checked_sub(1) {
            Some(before) => self.line_starts(raw).nth(before).unwrap_or(self.decoded),
            None => raw,
        };
        self.counted = LinePlace { text: record.start, raw: start };
        let inside = memchr_iter(b'\n', &text[record.clone()]).count();
        let next = self.line_starts(start).nth(inside);
        let mut end = next.map_or(self.decoded, |next| next - self.unit_bytes());
        let carriage_return = self.carriage_return();
        if next.is_some()
            && text[record.end..].starts_with(b"\r\n")
            && self.raw[start..end].ends_with(carriage_return)
        {
            end -= carriage_return.len();
        }
        if self.raw_offset == 0 && start == 0 && self.raw[..end].starts_with(self.mark()) {
            start = self.mark().len();
        }
        start..end
    }

    /// The places in `raw` behind each line feed, from the beginning of a line on.
    fn line_starts(&self, from: usize) -> impl Iterator<Item = usize> {
        let line_feeds = memchr_iter(b'\n', &self.raw[from..self.decoded]);
        line_feeds.filter_map(move |at| self.behind_line_feed(from + at))
    }

    /// The place behind the line feed that has the byte at `at`; `None` if the byte is part of another character.
    fn behind_line_feed(&self, at: usize) -> Option<usize> {
        let is_even = (self.raw_offset + at as u64).is_multiple_of(2);
        if self.encoding == UTF_16LE {
            (is_even && self.raw[..self.decoded].get(at + 1) == Some(&0)).then_some(at + 2)
        } else if self.encoding == UTF_16BE {
            (!is_even && at > 0 && self.raw[at - 1] == 0).then_some(at + 1)
        } else {
            Some(at + 1)
        }
    }

    /// The length of a line feed in bytes.
    fn unit_bytes(&self) -> usize {
        if self.encoding == UTF_16LE || self.encoding == UTF_16BE { 2 } else { 1 }
    }

    /// A carriage return in bytes.
    fn carriage_return(&self) -> &'static [u8] {
        match self.encoding.name() {
            "UTF-16LE" => b"\r\0",
            "UTF-16BE" => b"\0\r",
            _ => b"\r",
        }
    }

    /// The byte order mark, in an encoding that has one.
    fn mark(&self) -> &'static [u8] {
        match self.encoding.name() {
            "UTF-16LE" => b"\xff\xfe",
            "UTF-16BE" => b"\xfe\xff",
            "gb18030" => b"\x84\x31\x95\x33",
            _ => b"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_line_that_is_too_long_are_not_kept() {
        let letters = "\u{3042}".repeat(1000).encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
        let (mut decoding, mut text) = (Decoding::new(UTF_16BE), vec![0; 4096]);
        for block in letters.chunks(333).cycle().take(1000) {
            decoding.block(block.len(), text.len()).copy_from_slice(block);
            let end = decoding.decode(&mut text, 0, false);
            decoding.forget(&text[..end], end);
            assert!(decoding.raw.len() <= 1 && decoding.malformed.is_empty(), "{}", decoding.raw.len());
        }
        decoding.block(4, text.len()).copy_from_slice(b"\0\n\0a");
        let end = decoding.decode(&mut text, 0, true);
        assert_eq!((&text[..end], decoding.bytes(&text[..end], &(1..2))), (&b"\na"[..], &b"\0a"[..]));
    }
}
