//! Where a database is, and how it is connected to: what a connection string says.
//!
//! The strings and their parameters are those of libpq. `tokio_postgres` knows neither every `sslmode` nor the files of
//! certificates, and tries TLS in the same way at every host. Therefore the parameters are read here. `tokio_postgres`
//! gets those that it knows, and one server at a time.

mod text;

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslNegotiation};

use crate::error::PgError;
use crate::tls::{Root, SslMode, TlsOptions};

const PORT: u16 = 5432;
/// The parameters that `tokio_postgres` reads by itself.
const PASSED_ON: [&str; 12] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "target_session_attrs",
    "load_balance_hosts",
];

/// What a connection string says.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// All of it but the servers and TLS.
    pub(crate) config: Config,
    /// At least one, in the order in which they are tried.
    pub(crate) servers: Vec<Server>,
    pub(crate) tls: TlsOptions,
}

/// One server of a connection string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// A name, an IP address, or the folder of a socket; `None` if only the address is known.
    host: Option<String>,
    address: Option<IpAddr>,
    port: u16,
}

impl Address {
    /// Reads a connection string: a url, or `key=value`.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or asks for what Tidegate cannot do. The error says what to write, and never repeats the
    /// string.
    pub(crate) fn parse(text: &str) -> Result<Self, PgError> {
        let of_url = |fault: String| {
            PgError::halt(format!(
                "the database url cannot be read: {fault}; it is of the form postgres://user:password@host:5432/name"
            ))
        };
        let parameters = text::parameters(text).map_err(of_url)?;
        let servers = servers(&parameters).map_err(of_url)?;
        let named = servers.iter().map(Server::to_string).collect::<Vec<_>>().join(", ");
        let of_server = |fault: String| PgError::halt(format!("the database url of {named}: {fault}"));
        let tls = tls(&parameters).map_err(of_server)?;
        let config = config(&parameters).map_err(of_server)?;
        if tls.mode == SslMode::VerifyFull
            && let Some(server) = servers.iter().find(|server| server.host.is_none())
        {
            return Err(of_server(format!(
                "sslmode=verify-full verifies a name, and {server} has none: give 'host' beside 'hostaddr', or write \
                 sslmode=verify-ca"
            )));
        }
        Ok(Self { config, servers, tls })
    }

    /// The servers, for messages.
    pub(crate) fn named(&self) -> String {
        self.servers.iter().map(Server::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl Server {
    /// Returns whether the server is reached over a unix socket.
    pub(crate) fn is_socket(&self) -> bool {
        self.address.is_none() && self.host.as_ref().is_some_and(|host| host.starts_with('/'))
    }

    /// Returns the configuration for this server alone, of one that names no server.
    pub(crate) fn at(&self, config: &Config) -> Config {
        let mut config = config.clone();
        // A socket, a name or an address: `host` tells them apart.
        match (&self.host, self.address) {
            (Some(host), _) => config.host(host),
            (None, Some(address)) => config.host(address.to_string()),
            (None, None) => &mut config,
        };
        if let Some(address) = self.address {
            config.hostaddr(address);
        }
        config.port(self.port);
        config
    }

    /// Returns whether connections to the server leave this machine.
    pub(crate) async fn is_remote(&self) -> bool {
        if self.is_socket() {
            return false;
        }
        if let Some(address) = self.address {
            return !address.is_loopback();
        }
        let host = self.host.as_deref().unwrap_or_default();
        match tokio::net::lookup_host((host, self.port)).await {
            Ok(mut addresses) => !addresses.all(|address| address.ip().is_loopback()),
            Err(_) => host != "localhost",
        }
    }
}

impl Display for Server {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (&self.host, self.address) {
            (Some(folder), None) if folder.starts_with('/') => f.write_str(folder),
            (Some(host), _) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            (Some(host), _) => write!(f, "{host}:{}", self.port),
            (None, Some(address)) => write!(f, "{}", std::net::SocketAddr::new(address, self.port)),
            (None, None) => Ok(()),
        }
    }
}

/// Returns the value of a parameter: the last one that is given.
fn last<'a>(parameters: &'a [text::Parameter], name: &str) -> Option<&'a str> {
    parameters.iter().rfind(|parameter| parameter.0 == name).map(|parameter| parameter.1.as_str())
}

fn servers(parameters: &[text::Parameter]) -> Result<Vec<Server>, String> {
    let list = |name: &str| -> Vec<&str> {
        last(parameters, name).map_or(Vec::new(), |all| all.split(',').collect())
    };
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = hosts.len().max(addresses.len());
    if count == 0
        || (0..count)
            .any(|at| [&hosts, &addresses].iter().all(|list| list.get(at).is_none_or(|it| it.is_empty())))
    {
        return Err("it names no host".to_owned());
    }
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(format!("it names {} hosts and {} addresses of hosts", hosts.len(), addresses.len()));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(format!(
            "it names {count} hosts and {} ports: give one port, or one for each",
            ports.len()
        ));
    }
    let server = |at: usize| {
        let given =
            |list: &[&str]| list.get(at).filter(|text| !text.is_empty()).map(|text| (*text).to_owned());
        let address = given(&addresses).map(|address| address.parse());
        let port = ports.get(at).or(ports.first()).copied().filter(|port| !port.is_empty());
        // What stands there may be a part of a password, so it is not repeated.
        let port = port
            .map_or(Ok(PORT), |port| port.parse().ok().filter(|port| *port > 0).ok_or(NO_PORT.to_owned()))?;
        Ok(Server {
            host: given(&hosts),
            address: address.transpose().map_err(|_| "its 'hostaddr' is no IP address".to_owned())?,
            port,
        })
    };
    (0..count).map(server).collect()
}

const NO_PORT: &str = "behind the ':' of a host comes a port, a number up to 65535";

fn tls(parameters: &[text::Parameter]) -> Result<TlsOptions, String> {
    let mode = match last(parameters, "sslmode") {
        Some(word) => Some(SslMode::of(word).ok_or_else(|| unknown_mode(word))?),
        None => None,
    };
    let root = match last(parameters, "sslrootcert") {
        Some("system") => Root::System,
        Some(file) => Root::File(file.into()),
        None => Root::Default,
    };
    // As in libpq, the roots of the system do not go with a mode that would accept any name.
    let mode = match (mode, &root) {
        (None, Root::System) => SslMode::VerifyFull,
        (Some(mode), Root::System) if mode != SslMode::VerifyFull => {
            return Err(format!("sslrootcert=system needs sslmode=verify-full, and not {}", mode.word()));
        }
        (mode, _) => mode.unwrap_or(SslMode::Prefer),
    };
    let negotiation = match last(parameters, "sslnegotiation") {
        None | Some("postgres") => SslNegotiation::Postgres,
        Some("direct") if mode >= SslMode::Require => SslNegotiation::Direct,
        Some("direct") => {
            return Err(format!(
                "sslnegotiation=direct needs sslmode=require or stronger, and not {}",
                mode.word()
            ));
        }
        Some(_) => return Err("'sslnegotiation' is postgres or direct".to_owned()),
    };
    let channel_binding = match last(parameters, "channel_binding") {
        Some("disable") => ChannelBinding::Disable,
        None | Some("prefer") => ChannelBinding::Prefer,
        Some("require") if mode == SslMode::Disable => {
            return Err("channel_binding=require needs TLS, and not sslmode=disable".to_owned());
        }
        Some("require") => ChannelBinding::Require,
        Some(_) => return Err("'channel_binding' is disable, prefer or require".to_owned()),
    };
    let sends_name = match last(parameters, "sslsni") {
        None | Some("1") => true,
        Some("0") => false,
        Some(_) => return Err("'sslsni' is 1 or 0".to_owned()),
    };
    let file = |name: &str| last(parameters, name).map(PathBuf::from);
    let (certificate, key) = (file("sslcert"), file("sslkey"));
    Ok(TlsOptions { mode, root, certificate, key, negotiation, channel_binding, sends_name })
}

fn unknown_mode(word: &str) -> String {
    match word {
        "no-verify" => "sslmode=no-verify is written sslmode=require".to_owned(),
        _ => format!("'sslmode' is one of {}", SslMode::WORDS.map(|(word, _)| word).join(", ")),
    }
}

/// Returns what remains: all but the servers and TLS.
fn config(parameters: &[text::Parameter]) -> Result<Config, String> {
    let mut passed_on = String::new();
    let mut pass_on = |name: &str, value: &str| {
        passed_on += &format!("{name}='{}' ", value.replace('\\', "\\\\").replace('\'', "\\'"));
    };
    for (name, value) in parameters {
        match (name.as_str(), value.as_str()) {
            ("host" | "hostaddr" | "port" | "sslmode" | "sslrootcert" | "sslcert" | "sslkey", _)
            | ("sslnegotiation" | "channel_binding" | "sslsni", _) => {}
            (name, value) if PASSED_ON.contains(&name) => pass_on(name, value),
            ("keepalives_count", value) => pass_on("keepalives_retries", value),
            ("fallback_application_name", value) => {
                if last(parameters, "application_name").is_none() {
                    pass_on("application_name", value);
                }
            }
            // They change nothing here: texts are UTF-8, and there is no GSS and no compression.
            ("client_encoding" | "sslcompression", _) | ("gssencmode", "disable" | "prefer") => {}
            (name, value) => return Err(unknown(name, value)),
        }
    }
    Config::from_str(&passed_on).map_err(|error| {
        // Such as "invalid value for option `keepalives`": the value is not in it.
        std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
    })
}

/// Returns what to write in place of a parameter that other programs put into the url.
fn unknown(name: &str, value: &str) -> String {
    let advice = match name {
        "schema" | "currentSchema" | "search_path" => {
            "leave it out, and name the schema in the manifest, 'schema: app'"
        }
        "pgbouncer" | "prepareThreshold" | "statement_cache_size" | "prepared_statements" => {
            "leave it out: Tidegate finds out by itself whether there is a pooler"
        }
        "connection_limit" | "pool_timeout" | "pool_size" | "max_connections" => {
            "leave it out: Tidegate has at most eight connections, and three to read"
        }
        "sslaccept" if value == "strict" => "write sslmode=verify-full in place of it, with sslrootcert",
        "sslaccept" | "trustServerCertificate" => "write sslmode=require in place of it",
        "ssl" => "write sslmode=require in place of it, or sslmode=disable",
        "tlsmode" | "ssl_mode" | "ssl-mode" => "write 'sslmode'",
        "sslidentity" | "sslpassword" => {
            "give the certificate in 'sslcert' and its key, without a password, in 'sslkey', both as PEM"
        }
        "sslca" | "ssl_ca" | "sslrootca" => "write 'sslrootcert'",
        "username" => "write 'user'",
        "database" | "db" => "write 'dbname'",
        _ => "leave it out",
    };
    let name = if name.chars().all(|character| character.is_ascii_alphanumeric() || "_-".contains(character))
    {
        format!("the parameter '{name}'")
    } else {
        "one of its parameters".to_owned()
    };
    format!("{name} is not known: {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_mode_of_libpq_is_known_and_prefer_is_the_default() {
        assert_eq!(address("postgres://h").tls.mode, SslMode::Prefer);
        for (word, mode) in SslMode::WORDS {
            assert_eq!(address(&format!("postgres://h?sslmode={word}")).tls.mode, mode);
            assert_eq!(address(&format!("host=h sslmode={word}")).tls.mode, mode);
        }
    }

    #[test]
    fn the_roots_of_the_system_imply_that_the_name_is_verified() {
        let tls = address("postgres://h?sslrootcert=system").tls;
        assert_eq!((tls.mode, tls.root), (SslMode::VerifyFull, Root::System));
        let tls = address("postgres://h?sslrootcert=/a%20b.crt&sslcert=c&sslkey=k&sslmode=verify-ca").tls;
        assert_eq!(tls.root, Root::File("/a b.crt".into()));
        assert_eq!((tls.certificate, tls.key), (Some("c".into()), Some("k".into())));
    }

    #[test]
    fn servers_are_listed_with_their_ports() {
        for (text, expected) in [
            ("postgres://h", "h:5432"),
            ("postgres://a:1,b,[::1]:3", "a:1, b:5432, [::1]:3"),
            ("host=a,b port=7", "a:7, b:7"),
            ("host=/run/pg", "/run/pg"),
            ("hostaddr=127.0.0.1 port=6000", "127.0.0.1:6000"),
            ("host=name hostaddr=::1", "name:5432"),
            ("postgres://h:1/d?host=g&port=2", "g:2"),
        ] {
            assert_eq!(address(text).named(), expected, "{text}");
        }
    }

    #[test]
    fn what_concerns_neither_servers_nor_tls_is_passed_on() {
        let config = address(
            "postgres://u:p%27%5C@h/d?application_name=a%20b&keepalives_count=3&gssencmode=disable&client_encoding=utf8",
        )
        .config;
        assert_eq!(config.get_user(), Some("u"));
        assert_eq!(config.get_password(), Some(br"p'\".as_slice()));
        assert_eq!(config.get_dbname(), Some("d"));
        assert_eq!(config.get_application_name(), Some("a b"));
        assert_eq!(config.get_keepalives_retries(), Some(3));
        assert!(config.get_hosts().is_empty() && config.get_ports().is_empty());
    }

    #[test]
    fn a_url_that_is_none_is_answered_with_what_to_write() {
        for (text, expected) in [
            ("postgres://u:sec@ret@h/d", "write %40 in place of it"),
            (
                "postgres://u:secret@h/d?schema=app",
                "h:5432: the parameter 'schema' is not known: leave it out",
            ),
            ("postgres://u:secret@h:1/d?pgbouncer=true", "h:1: the parameter 'pgbouncer' is not known"),
            ("postgres://u:secret@h/d?sslaccept=strict", "write sslmode=verify-full"),
            ("postgres://u:secret@h/d?sslaccept=accept_invalid_certs", "write sslmode=require"),
            ("postgres://u:secret@h/d?sslmode=no-verify", "written sslmode=require"),
            (
                "postgres://u:secret@h/d?sslmode=yes",
                "disable, allow, prefer, require, verify-ca, verify-full",
            ),
            (
                "postgres://u:secret@h/d?sslmode=require&sslrootcert=system",
                "needs sslmode=verify-full, and not require",
            ),
            (
                "postgres://u:secret@h/d?sslnegotiation=direct",
                "needs sslmode=require or stronger, and not prefer",
            ),
            ("postgres://u:secret@h/d?sslmode=disable&channel_binding=require", "needs TLS"),
            ("postgres://h?hostaddr=secret", "no IP address"),
            ("hostaddr=10.0.0.1 sslmode=verify-full", "10.0.0.1:5432 has none"),
            ("postgres://user:secret", "a number up to 65535"),
            ("postgres:///d?password=secret", "names no host"),
            ("postgres://a,b:1,c:2/d?port=1,2", "names 3 hosts and 2 ports"),
            ("postgres://h?keepalives=secret", "invalid value for option `keepalives`"),
            ("postgres://u:secret@h/d?s%20e=t", "one of its parameters is not known"),
        ] {
            let fault = Address::parse(text).expect_err(text).to_string();
            assert!(fault.contains(expected), "{text}: {fault}");
            assert!(!fault.contains("sec") && !fault.contains("ret@"), "{text}: {fault}");
        }
    }

    #[tokio::test]
    async fn loopback_and_sockets_are_not_remote() {
        for (text, expected) in [
            ("postgres://127.0.0.2", false),
            ("postgres://[::1]", false),
            ("host=/run/pg", false),
            ("host=far.example hostaddr=127.0.0.1", false),
            ("postgres://192.0.2.1", true),
            ("host=localhost hostaddr=192.0.2.1", true),
        ] {
            assert_eq!(address(text).servers[0].is_remote().await, expected, "{text}");
        }
    }
}
