//! The two text formats of metrics: which one a client asks for, and the conversion of the newer to the older.
//!
//! Clients that ask for OpenMetrics 1.0 by name get it, as Prometheus does. All others get the text format 0.0.4, which
//! every tool reads. The older format names a counter by its sample, `_total` included, and has no infos.

use axum::http::{HeaderMap, header};

/// A format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's text format 0.0.4.
    Text,
}

impl Exposition {
    /// The format that a client prefers, by its `Accept` header.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let (mut open_metrics, mut text) = (0.0, 0.0);
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut weight, mut version) = (1.0, None);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => weight = value.trim().parse().unwrap_or(0.0),
                    "version" => version = Some(value.trim().trim_matches('"')),
                    _ => {}
                }
            }
            // The output is of version 1.0.0, and readers of the earlier draft can read it.
            let is_known = version.is_none_or(|version| matches!(version, "1.0.0" | "0.0.1"));
            if kind == "application/openmetrics-text" && is_known {
                open_metrics = f32::max(open_metrics, weight);
            } else if matches!(kind.as_str(), "text/plain" | "text/*" | "*/*") {
                text = f32::max(text, weight);
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// The `Content-Type` of this format.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Converts OpenMetrics to this format.
    pub(super) fn write(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => as_text(&open_metrics),
        }
    }
}

/// Converts OpenMetrics as `prometheus-client` writes them to the text format 0.0.4. Samples are the same in both.
fn as_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(of) = line.strip_prefix("# HELP ") {
            help = of.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|of| of.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            // OpenMetrics escapes a quote, and the text format does not.
            let help = help.replace("\\\"", "\"");
            text.extend(["# HELP ", name, suffix, " ", &help, "\n# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_are_for_who_asks_for_them() {
        let of = |accept: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, value.parse().unwrap());
            }
            Exposition::of(&headers)
        };
        // The `Accept` headers of Prometheus 2 and 3, and of curl.
        let two = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                   text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                     application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;\
                     q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for accept in [
            &[two][..],
            &[three],
            &["Application/OpenMetrics-Text"],
            &["text/html", "application/openmetrics-text"],
        ] {
            assert_eq!(of(accept), Exposition::OpenMetrics, "{accept:?}");
        }
        for accept in [
            &[][..],
            &["*/*"],
            &["text/plain;version=0.0.4"],
            &["text/html,application/xhtml+xml,*/*;q=0.8"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=0.2,text/plain;q=0.3"],
            &["application/openmetrics-text;version=2.0.0,*/*;q=0.1"],
            &["application/json"],
        ] {
            assert_eq!(of(accept), Exposition::Text, "{accept:?}");
        }
    }

    #[test]
    fn the_older_format_names_counters_by_their_samples_and_knows_no_infos() {
        let open_metrics = "# HELP a_b Build.\n# TYPE a_b info\na_b_info{version=\"1\"} 1\n\
                            # HELP a_c Of \\\"x\\\" \\\\.\n# TYPE a_c counter\na_c_total{x=\"y\\\"\"} 2\n\
                            # HELP a_s Seconds.\n# TYPE a_s histogram\n# UNIT a_s seconds\na_s_sum 0.5\na_s_count 1\n\
                            a_s_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let text = "# HELP a_b_info Build.\n# TYPE a_b_info gauge\na_b_info{version=\"1\"} 1\n\
                    # HELP a_c_total Of \"x\" \\\\.\n# TYPE a_c_total counter\na_c_total{x=\"y\\\"\"} 2\n\
                    # HELP a_s Seconds.\n# TYPE a_s histogram\na_s_sum 0.5\na_s_count 1\na_s_bucket{le=\"+Inf\"} 1\n";
        assert_eq!(Exposition::Text.write(open_metrics.to_owned()), text);
        assert_eq!(Exposition::OpenMetrics.write(open_metrics.to_owned()), open_metrics);
    }
}
