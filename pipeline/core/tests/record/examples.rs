//! Records and lines, by example.

use tidegate_core::position::Position;
use tidegate_core::record::{Batch, Line, MalformedBatch};

#[test]
fn a_position_fits_into_postgres() {
    assert!(Line::parse(b"0,9223372036854775807,9223372036854775807,text").is_some());
    assert!(Line::parse(b"0,9223372036854775808,1,text").is_none());
    assert!(Line::parse(b"0,1,18446744073709551615,text").is_none());
}

#[test]
fn a_batch_gives_back_its_records() {
    let mut batch = Batch::default();
    batch.push(b"k", b"value");
    batch.push(b"", b"");
    let again = Batch::from_bytes(batch.as_bytes().to_vec(), 2).unwrap();
    let records: Vec<_> = again.iter().map(|r| (r.key.to_vec(), r.value.to_vec())).collect();
    assert_eq!(records, [(b"k".to_vec(), b"value".to_vec()), (vec![], vec![])]);
    assert_eq!(Batch::from_bytes(batch.as_bytes().to_vec(), 3), Err(MalformedBatch));
    assert_eq!(Batch::from_bytes(batch.as_bytes().to_vec(), 1), Err(MalformedBatch));
    batch.skip_front(1);
    assert_eq!((batch.len(), batch.as_bytes().len()), (1, 8));
}

#[test]
fn a_line_is_written_and_read() {
    let line = Line { fingerprint: 2, position: Position::new(3, 117), text: b"1,\"a,b\"," };
    let mut value = Vec::new();
    line.write(&mut value);
    assert_eq!(value, b"2,3,117,1,\"a,b\",");
    assert_eq!(Line::parse(&value), Some(line));
    for malformed in [&b"2,3,x,"[..], b"2,3", b",,,", b"0,99999999999999999999,1,"] {
        assert_eq!(Line::parse(malformed), None);
    }
}
