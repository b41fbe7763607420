//! One chunk, by example.

use tidegate_core::ledger::{CHUNK_LINES, Chunk, Fate, chunk_of};

#[test]
fn a_line_has_one_fate_and_keeps_it() {
    let mut chunk = Chunk::default();
    assert!(chunk.enter(1, Fate::Accepted));
    assert!(!chunk.enter(1, Fate::Rejected));
    assert!(chunk.enter(CHUNK_LINES, Fate::Waiting));
    assert_eq!(chunk.fate(1), Some(Fate::Accepted));
    assert_eq!(chunk.fate(2), None);
    assert!(!chunk.shift(1, Fate::Waiting, Fate::Accepted));
    assert!(chunk.shift(CHUNK_LINES, Fate::Waiting, Fate::Accepted));
    assert_eq!((chunk.count(Fate::Accepted), chunk.total()), (2, 2));
}

#[test]
fn sets_survive_being_stored() {
    let mut chunk = Chunk::default();
    for line in 1..=CHUNK_LINES {
        let fate = if line % 29 == 0 { Fate::Rejected } else { Fate::Accepted };
        assert!(chunk.enter(line, fate));
    }
    let sets = Fate::ALL.map(|fate| chunk.encode(fate));
    assert!(sets.iter().map(Vec::len).sum::<usize>() < 17_000);
    let again = Chunk::decode([&sets[0], &sets[1], &sets[2], &sets[3]]).unwrap();
    assert_eq!(again, chunk);
    assert!(Chunk::decode([b"x", b"", b"", b""]).is_err());
}

#[test]
fn an_audit_sees_lines_holes_and_overlaps() {
    let mut chunk = Chunk::default();
    let first = CHUNK_LINES + 1;
    for line in [first + 1, first + 4] {
        assert!(chunk.enter(line, Fate::Accepted));
    }
    assert_eq!(chunk.lines(1, Fate::Accepted).collect::<Vec<_>>(), [first + 1, first + 4]);
    assert_eq!(chunk.holes(1, first + 5), [first..=first, first + 2..=first + 3, first + 5..=first + 5]);
    assert_eq!(chunk.overlaps(1).count(), 0);
    let set = chunk.encode(Fate::Accepted);
    let torn = Chunk::decode_overlapping([&set, b"", &set, b""]).unwrap();
    assert!(Chunk::decode([&set, b"", &set, b""]).is_err());
    assert_eq!(torn.overlaps(1).collect::<Vec<_>>(), [first + 1, first + 4]);
}

#[test]
fn a_chunk_covers_its_lines() {
    assert_eq!((chunk_of(1), chunk_of(CHUNK_LINES), chunk_of(CHUNK_LINES + 1)), (0, 0, 1));
}
