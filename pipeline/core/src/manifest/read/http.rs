//! Where HTTP is served.

use marked_yaml::Node;

use super::super::limits::{BODY_BYTES, CONNECTIONS_MAX, UPLOAD_BYTES};
use super::super::yaml::{KeyValue, NodeReader, Text};
use super::super::{Http, HttpTls, keys};

const BODY_BYTES_DEFAULT: u64 = 8 * 1024 * 1024;
const UPLOAD_BYTES_DEFAULT: u64 = 64 * 1024 * 1024 * 1024;
const CONNECTIONS_DEFAULT: u32 = 1024;
const LISTEN_HINT: &str =
    "write host and port: \"127.0.0.1:8088\" for this machine alone, \"0.0.0.0:8088\" for others too";

impl NodeReader<'_> {
    /// Reads the settings. A text alone is the address to listen on.
    pub(super) fn http(&mut self, entry: &KeyValue<'_>) -> Option<Http> {
        let KeyValue { node, place, .. } = *entry;
        if node.as_scalar().is_some() {
            return self.listen(node).map(with_defaults);
        }
        let fields = self.fields(node, "http settings", &keys::HTTP)?;
        let listen = self.required(&fields, "listen", place, LISTEN_HINT);
        let listen = listen.and_then(|node| self.listen(node));
        let tls = fields.entry("tls").and_then(|entry| self.http_tls(entry));
        let body = fields
            .get("max_body_bytes")
            .and_then(|node| self.bytes(node, "max_body_bytes", BODY_BYTES, "a size from 1KiB to 64MiB"));
        let upload = fields
            .get("max_upload_bytes")
            .and_then(|node| self.bytes(node, "max_upload_bytes", UPLOAD_BYTES, "a size of at least 1KiB"));
        let connections = fields
            .get("max_connections")
            .and_then(|node| self.number(node, "max_connections", CONNECTIONS_MAX));
        let defaults = with_defaults(listen?);
        Some(Http {
            tls,
            max_body_bytes: body.map_or(defaults.max_body_bytes, |bytes| bytes as usize),
            max_upload_bytes: upload.unwrap_or(defaults.max_upload_bytes),
            max_connections: connections.unwrap_or(defaults.max_connections),
            ..defaults
        })
    }

    fn listen(&mut self, node: &Node) -> Option<String> {
        let Text { value, place } = self.text(node, "what to listen on")?;
        let parts = value.rsplit_once(':');
        let port = parts.and_then(|(_, port)| port.parse::<u16>().ok());
        let host = parts.map_or("", |(host, _)| host);
        // An IPv6 address has colons of its own, so it is in brackets.
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains(['/', '@', ' ', ':', '[', ']', '*']),
        };
        if port.is_none() || !is_host {
            self.fault(place, format!("HTTP cannot listen on \"{value}\""), LISTEN_HINT);
            return None;
        }
        Some(value)
    }

    fn http_tls(&mut self, entry: &KeyValue<'_>) -> Option<HttpTls> {
        let KeyValue { node, place, .. } = *entry;
        let hint = "name the PEM files of the certificate and of its private key, both";
        let fields = self.fields(node, "tls settings", &keys::HTTP_TLS)?;
        let [cert, key] = keys::HTTP_TLS.map(|key| {
            let node = self.required(&fields, key, place, hint)?;
            self.path(node, key, hint)
        });
        Some(HttpTls { cert: cert?, key: key? })
    }
}

fn with_defaults(listen: String) -> Http {
    Http {
        listen,
        tls: None,
        max_body_bytes: BODY_BYTES_DEFAULT as usize,
        max_upload_bytes: UPLOAD_BYTES_DEFAULT,
        max_connections: CONNECTIONS_DEFAULT,
    }
}
