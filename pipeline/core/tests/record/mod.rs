//! Records and lines come back as they went in.

mod examples;

use proptest::prelude::*;
use tidegate_core::position::Position;
use tidegate_core::record::{Batch, Line};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs() -> impl Strategy<Value = Pairs> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    prop::collection::vec((bytes(), bytes()), 0..10)
}

fn batch_of(pairs: &Pairs) -> Batch {
    let mut batch = Batch::with_capacity(64);
    for (key, value) in pairs {
        batch.push(key, value);
    }
    batch
}

proptest! {
    #[test]
    fn a_batch_gives_back_its_records_whatever_they_hold(pairs in pairs(), dropped in 0_usize..12) {
        let mut batch = batch_of(&pairs);
        let stored = Batch::from_bytes(batch.as_bytes().to_vec(), pairs.len() as u32);
        prop_assert_eq!(stored.as_ref(), Ok(&batch));
        let found: Pairs = batch.iter().map(|r| (r.key.to_vec(), r.value.to_vec())).collect();
        prop_assert_eq!(&found, &pairs);

        batch.skip_front(dropped);
        let rest: Pairs = pairs.into_iter().skip(dropped).collect();
        prop_assert_eq!(&batch, &batch_of(&rest));
        batch.clear();
        prop_assert_eq!((batch.len(), batch.is_empty()), (0, true));
    }

    #[test]
    fn a_batch_cut_short_is_malformed(pairs in pairs(), cut in 1_usize..40) {
        let batch = batch_of(&pairs);
        let kept = batch.as_bytes().len().saturating_sub(cut);
        let bytes = batch.as_bytes()[..kept].to_vec();
        prop_assert!(batch.is_empty() || Batch::from_bytes(bytes, pairs.len() as u32).is_err());
    }

    #[test]
    fn no_bytes_make_reading_a_batch_or_a_line_panic(
        bytes in prop::collection::vec(prop_oneof![0..4_u8, b'0'..=b'9', Just(b','), any::<u8>()], 0..60),
        count in 0..5_u32,
    ) {
        if let Ok(batch) = Batch::from_bytes(bytes.clone(), count) {
            prop_assert_eq!(batch.iter().count(), batch.len());
        }
        let _ = Line::parse(&bytes);
    }

    #[test]
    fn a_line_is_read_as_it_was_written(
        fingerprint in any::<u32>(),
        source in 0..=i64::MAX as u64,
        line in 1..=i64::MAX as u64,
        text in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let written = Line { fingerprint, position: Position::new(source, line), text: &text };
        let mut value = Vec::new();
        written.write(&mut value);
        prop_assert_eq!(Line::parse(&value), Some(written));

        let mut row = Vec::new();
        written.write_without_fingerprint(&mut row);
        prop_assert!(value.ends_with(&row));
        prop_assert_eq!(value.len() - row.len(), fingerprint.to_string().len() + 1);
    }
}
