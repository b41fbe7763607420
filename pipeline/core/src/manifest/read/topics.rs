//! Where the topics are: embedded, or on a Fluvio cluster.

use std::path::PathBuf;
use std::time::Duration;

use marked_yaml::Node;

use super::super::limits::{FLUVIO_RECORD_BYTES_MAX, REPLICATION_MAX, RETENTION_MAX, RETENTION_MIN};
use super::super::yaml::{KeyValues, Location, NodeReader, Text};
use super::super::{Compression, Engine, FluvioOptions, PARTITIONS_MAX, Tls, keys};

const RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);

impl NodeReader<'_> {
    /// `Some(None)` if the topics are embedded, `None` if the settings are faulty.
    pub(super) fn topics(&mut self, fields: &KeyValues<'_>) -> Option<Option<FluvioOptions>> {
        let Some(node) = fields.get("topics") else { return Some(None) };
        if node.as_scalar().is_some() {
            let Text { value, place } = self.text(node, "\"embedded\" or a mapping")?;
            if value == "embedded" {
                return Some(None);
            }
            let hint = match value.as_str() {
                "fluvio" => "write \"topics: {fluvio: {endpoint: \"host:port\"}}\"",
                _ => "write \"embedded\", or \"fluvio\" with its settings",
            };
            self.fault(place, format!("topics cannot be \"{value}\""), hint);
            return None;
        }
        let kinds = self.fields(node, "kinds of topics", &keys::TOPICS)?;
        let hint = "write \"fluvio: {endpoint: \"host:port\"}\", or \"topics: embedded\"";
        let node = self.required(&kinds, "fluvio", Location::of(node.span()), hint)?;
        self.fluvio(node).map(Some)
    }

    fn fluvio(&mut self, node: &Node) -> Option<FluvioOptions> {
        let fields = self.fields(node, "fluvio settings", &keys::FLUVIO)?;
        let endpoint = fields.get("endpoint").and_then(|node| self.endpoint(node));
        let profile = fields.get("profile").and_then(|node| self.profile(node));
        if let (Some(place), true) = (fields.place("profile"), fields.get("endpoint").is_some()) {
            self.fault(place, "endpoint and profile both name a cluster", "remove one of them");
        }
        if let (Some(place), None) = (fields.place("tls"), fields.get("endpoint")) {
            let hint = "name the endpoint as well; a profile says itself how to encrypt";
            self.fault(place, "tls is for an endpoint, and there is none", hint);
        }
        let tls = fields.get("tls").and_then(|node| self.tls(node));
        let mut number = |key: &str, max: u32| {
            let node = fields.get(key);
            node.map_or(Some(1), |node| self.number(node, key, max))
        };
        let partitions = number("partitions", PARTITIONS_MAX);
        let replication = number("replication", REPLICATION_MAX);
        let compression = fields
            .get("compression")
            .and_then(|node| self.word(node, "compression", Compression::ALL, Compression::as_str));
        let transform = fields
            .get("transform")
            .and_then(|node| self.word(node, "engine of the transform", Engine::ALL, Engine::as_str));
        let retention = fields
            .get("retention")
            .and_then(|node| self.duration(node, "retention", RETENTION_MIN..=RETENTION_MAX));
        Some(FluvioOptions {
            endpoint,
            profile,
            tls,
            partitions: partitions.unwrap_or(1),
            replication: replication.unwrap_or(1),
            compression: compression.unwrap_or_default(),
            retention: retention.unwrap_or(RETENTION_DEFAULT),
            transform: transform.unwrap_or_default(),
        })
    }

    fn endpoint(&mut self, node: &Node) -> Option<String> {
        let Text { value, place } = self.text(node, "the controller's host and port")?;
        let parts = value.rsplit_once(':');
        let port = parts.and_then(|(_, port)| port.parse::<u16>().ok()).filter(|port| *port > 0);
        let host = parts.map_or("", |(host, _)| host);
        if port.is_none() || host.is_empty() || host.contains(['/', '@', ' ']) {
            let hint = "write the host and port of the cluster's controller, like \"127.0.0.1:9003\"";
            self.fault(place, format!("\"{value}\" is no endpoint"), hint);
        }
        Some(value)
    }

    fn profile(&mut self, node: &Node) -> Option<String> {
        let Text { value, place } = self.text(node, "the name of a profile")?;
        if value.is_empty() {
            let hint = "name one that \"fluvio profile list\" shows, or remove the key";
            self.fault(place, "profile must be the name of a profile", hint);
        }
        Some(value)
    }

    fn tls(&mut self, node: &Node) -> Option<Tls> {
        let place = Location::of(node.span());
        let fields = self.fields(node, "tls settings", &keys::TLS)?;
        let hint = "give all of domain, ca, cert and key";
        let mut texts = keys::TLS.map(|key| {
            let node = self.required(&fields, key, place, hint)?;
            let Text { value, place } = self.text(node, "a text")?;
            if value.is_empty() || value.contains('\0') {
                self.fault(place, format!("{key} must not be empty"), hint);
            }
            Some(value)
        });
        let [domain, ca, cert, key] = &mut texts;
        let path = |text: &mut Option<String>| text.take().map(PathBuf::from);
        Some(Tls { domain: domain.take()?, ca: path(ca)?, cert: path(cert)?, key: path(key)? })
    }

    /// Limits `max_record_bytes`: a dead letter must fit into the batches that a cluster accepts by default.
    pub(super) fn record_fits_fluvio(&mut self, fields: &KeyValues<'_>, bytes: Option<u64>) {
        if let (Some(node), Some(bytes)) = (fields.get("max_record_bytes"), bytes)
            && bytes > FLUVIO_RECORD_BYTES_MAX
        {
            let message = format!(
                "max_record_bytes must be at most {}MiB where topics are Fluvio's",
                FLUVIO_RECORD_BYTES_MAX >> 20
            );
            let hint = "lower it, or write \"topics: embedded\"";
            self.fault(Location::of(node.span()), message, hint);
        }
    }
}
