//! How often backups are made.

use super::super::limits::{BACKUP_EVERY, BACKUPS_MAX};
use super::super::yaml::{KeyValue, NodeReader};
use super::super::{BackupSchedule, Codec, keys};

const KEEP_DEFAULT: u32 = 20;

impl NodeReader<'_> {
    pub(super) fn backup(&mut self, entry: &KeyValue<'_>) -> Option<BackupSchedule> {
        let KeyValue { node, place, .. } = *entry;
        let fields = self.fields(node, "backup settings", &keys::BACKUP)?;
        let hint = "say how often: \"backup: {every: 1h}\"";
        let every = self.required(&fields, "every", place, hint);
        let every = every.and_then(|node| self.duration(node, "every", BACKUP_EVERY));
        let keep = fields.get("keep").and_then(|node| self.number(node, "keep", BACKUPS_MAX));
        let to = self.folder(&fields, "to", "backups");
        let codec = fields.get("codec").and_then(|node| self.word(node, "codec", Codec::ALL, Codec::as_str));
        Some(BackupSchedule {
            every: every?,
            keep: keep.unwrap_or(KEEP_DEFAULT),
            to: to?,
            codec: codec.unwrap_or_default(),
        })
    }
}
