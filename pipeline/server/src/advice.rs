//! The settings of the manifest that would accept dead letters.

use serde::Serialize;
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::validate::hint;
use tidegate_postgres::{Database, PgError};
use tidegate_store::filter::{self, LetterCounts, LetterFilter, ReasonCount};
use utoipa::ToSchema;

/// The number of dead letters of one dataset, status, code and column, and the setting that would accept them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReasonAdvice {
    /// The number.
    #[serde(flatten)]
    pub reason: ReasonCount,
    /// For a reason with 10 letters or more: the setting of the column that would read their values, as the manifest
    /// would have it. Several are alternatives, each of which reads the values otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
}

impl From<ReasonCount> for ReasonAdvice {
    fn from(reason: ReasonCount) -> Self {
        Self { reason, setting: None }
    }
}

/// For fewer letters nothing is looked for.
const LINES_MIN: u64 = 10;

/// For so many reasons a setting is looked for.
const REASONS_MAX: usize = 50;

/// So many letters of a reason are looked at.
const LETTERS_MAX: u32 = 50;

/// Looks for the settings that would accept the counted letters of a filter. A setting is named only if it would read
/// each value that is looked at.
pub async fn of_counts(
    database: &Database,
    manifest: &Manifest,
    filter: &LetterFilter,
    counts: LetterCounts,
) -> Result<Vec<ReasonAdvice>, PgError> {
    let mut advice: Vec<ReasonAdvice> = counts.reasons.into_iter().map(ReasonAdvice::from).collect();
    let many = advice.iter_mut().filter(|advice| advice.reason.lines >= LINES_MIN);
    for ReasonAdvice { reason, setting } in many.take(REASONS_MAX) {
        let Some((dataset, column)) = column(manifest, reason) else { continue };
        let of_reason = LetterFilter {
            dataset: Some(reason.dataset.clone()),
            status: Some(reason.status.as_str().to_owned()),
            code: Some(reason.code.clone()),
            column: reason.column.clone(),
            ..filter.clone()
        };
        let page = filter::page(database, &of_reason, None, LETTERS_MAX).await?;
        let reasons = page.letters.iter().flat_map(|letter| &letter.reasons);
        let values = reasons.filter(|reason| of_reason.matches_reason(reason));
        *setting = common(dataset, column, values.map(|reason| reason.value.as_str()));
    }
    Ok(advice)
}

/// The column that a reason is about, by its index in its dataset, if the manifest still has it.
fn column<'a>(manifest: &'a Manifest, reason: &ReasonCount) -> Option<(&'a Dataset, usize)> {
    let name = reason.column.as_ref()?;
    let (_, dataset) = manifest.dataset(&reason.dataset)?;
    let column = dataset.columns.iter().position(|column| column.name == *name)?;
    Some((dataset, column))
}

/// The settings with each of which a column would accept all of the values, joined by "or".
fn common<'a>(dataset: &Dataset, column: usize, values: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut settings: Option<Vec<String>> = None;
    for value in values {
        let its = hint(dataset, column, value)?.settings;
        let of_all = match settings {
            None => its,
            Some(settings) => settings.into_iter().filter(|setting| its.contains(setting)).collect(),
        };
        if of_all.is_empty() {
            return None;
        }
        settings = Some(of_all);
    }
    settings.map(|settings| settings.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(kind: &str) -> Dataset {
        let text = format!(
            "pipeline: p\ndatasets:\n  a:\n    key: id\n    columns: {{id: integer, v: {{type: {kind}, optional: true}}}}\n"
        );
        Manifest::parse(&text, &|_| None).unwrap().datasets[0].clone()
    }

    #[test]
    fn a_setting_is_named_if_it_reads_all_values() {
        let of = |kind, values: &[&'static str]| common(&dataset(kind), 1, values.iter().copied());
        assert_eq!(of("date", &["01/02/2021", "27/07/2021"]).as_deref(), Some("format: \"%d/%m/%Y\""));
        assert!(of("date", &["01/02/2021"]).is_some_and(|settings| settings.contains(" or ")));
        assert_eq!(of("date", &["27/07/2021", "soon"]), None);
        assert_eq!(of("date", &["27/07/2021", "07/27/2021"]), None);
        assert_eq!(of("date", &[]), None);
    }
}
