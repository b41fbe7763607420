//! How a key is generated for a row that has none.

use std::ops::RangeInclusive;

use marked_yaml::Node;

use super::super::limits::UUID_CHARS;
use super::super::yaml::{Location, NodeReader, Text};
use super::super::{Bound, Generated, Kind, Rules, keys};
use super::ColumnDraft;
use crate::suggestion::did_you_mean;

impl NodeReader<'_> {
    /// Reads how a key is generated. A way that does not fit the column's type and rules is a fault. Whether the
    /// column is the key is checked by the linker.
    pub(super) fn generated(&mut self, node: &Node, column: &ColumnDraft) -> Option<(Generated, Location)> {
        let place = Location::of(node.span());
        let generated = match node {
            Node::Scalar(_) => self.uuid(node)?,
            _ => self.sequence(node, column)?,
        };
        if let Some(kind) = column.kind.filter(|kind| !generated.fits(*kind, &column.rules)) {
            let (what, hint) = match generated {
                Generated::Uuid => ("a UUID", "choose uuid, text or a varchar of at least 36 characters"),
                Generated::Sequence { .. } => ("a number", "choose smallint, integer or bigint"),
            };
            self.fault(place, format!("{} is of type {kind}, which does not hold {what}", column.name), hint);
        }
        if let Some(Text { value, place }) = &column.references {
            let message = format!("{} is generated, so it cannot be a key of {value}", column.name);
            self.fault(*place, message, "remove \"references\" or \"generated\"");
        }
        if column.rules.one_of.is_some() {
            let message = format!("{} is generated, so it is none of its one_of", column.name);
            self.fault(place, message, "remove \"one_of\" or \"generated\"");
        }
        Some((generated, place))
    }

    fn uuid(&mut self, node: &Node) -> Option<Generated> {
        let Text { value, place } = self.text(node, "\"uuid\" or a mapping")?;
        if value == "uuid" {
            return Some(Generated::Uuid);
        }
        let otherwise = || "write \"uuid\", or \"{start: 1000000}\" for whole numbers".to_owned();
        let hint = did_you_mean(&value, &["uuid"], otherwise);
        self.fault(place, format!("\"{value}\" is no way to generate a key"), hint);
        None
    }

    fn sequence(&mut self, node: &Node, column: &ColumnDraft) -> Option<Generated> {
        let fields = self.fields(node, "what is generated", &keys::GENERATED)?;
        let hint = "say where it begins: \"generated: {start: 1000000}\"";
        let node = self.required(&fields, "start", Location::of(node.span()), hint)?;
        let Text { value, place } = self.text(node, "a number")?;
        let Ok(start) = value.parse::<i64>() else {
            let message = format!("start must be a whole number, not \"{value}\"");
            self.fault(place, message, hint);
            return None;
        };
        if let Some(range) = column.kind.and_then(|kind| allowed(kind, &column.rules))
            && !range.contains(&start)
        {
            let message = format!("start {start} is no value of {}", column.name);
            let hint = format!("choose one from {} to {}", range.start(), range.end());
            self.fault(place, message, hint);
        }
        Some(Generated::Sequence { start })
    }
}

impl Generated {
    fn fits(self, kind: Kind, rules: &Rules) -> bool {
        match self {
            Self::Sequence { .. } => kind.is_integer(),
            Self::Uuid if kind.is_text() => rules.length_max(kind).is_none_or(|most| most >= UUID_CHARS),
            Self::Uuid => kind == Kind::Uuid,
        }
    }
}

/// The integers that the type and its rules allow.
fn allowed(kind: Kind, rules: &Rules) -> Option<RangeInclusive<i64>> {
    let (least, most) = kind.integers()?.into_inner();
    let bound = |bound: &Option<Bound>, otherwise: i64| match bound {
        Some(Bound::Integer(bound)) => *bound,
        _ => otherwise,
    };
    Some(least.max(bound(&rules.min, least))..=most.min(bound(&rules.max, most)))
}
