//! TLS as libpq does it: how strictly a connection is encrypted, whose certificate is accepted, and who this process is.
//!
//! * [`TlsOptions`]: what the connection string says. Files are read anew for each connection, so that a certificate
//!   may be renewed while a run goes on.
//! * `refusal`: why a connection was not encrypted, whether a retry may heal it, and what to write.
//! * `verifier`: which certificates of a server are accepted. `certificate`: the parts of one that it needs.
//! * `stream`: the encrypted stream, for `tokio_postgres`.

mod refusal;
mod certificate;
mod verifier;
mod stream;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tokio_postgres::config::{ChannelBinding, SslNegotiation};
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use verifier::Verifier;

pub(crate) use refusal::{TlsError, refusal};
pub(crate) use stream::{Handshake, MakeTls, TlsStream};

/// How strictly a connection is encrypted: libpq's `sslmode`, from the weakest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SslMode {
    /// Plain.
    Disable,
    /// Plain if the server lets this process in that way, else TLS.
    Allow,
    /// TLS if the server can and lets this process in that way, else plain.
    Prefer,
    /// TLS. The certificate is verified only if a root certificate is there.
    Require,
    /// TLS. The certificate must come from a known authority.
    VerifyCa,
    /// TLS. The certificate must come from a known authority, and be for the host of the connection string.
    VerifyFull,
}

impl SslMode {
    /// The modes, and the words for them.
    pub(crate) const WORDS: [(&str, Self); 6] = [
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    /// Returns the mode that a word means.
    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(known, _)| *known == word).map(|(_, mode)| mode)
    }

    /// Returns the word for the mode.
    pub(crate) fn word(self) -> &'static str {
        Self::WORDS.into_iter().find(|(_, mode)| *mode == self).map_or("", |(word, _)| word)
    }
}

/// Where the certificates of the authorities are: libpq's `sslrootcert`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// `~/.postgresql/root.crt`, if it is there.
    Default,
    /// A file.
    File(PathBuf),
    /// The roots of the operating system.
    System,
}

/// What a connection string says about TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsOptions {
    pub(crate) mode: SslMode,
    pub(crate) root: Root,
    /// The certificate of this process, and its key. `None` takes them from `~/.postgresql`, if they are there.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) negotiation: SslNegotiation,
    pub(crate) channel_binding: ChannelBinding,
    /// Whether the server is told by which name it was called.
    pub(crate) sends_name: bool,
}

impl TlsOptions {
    /// Reads the files, and returns how a handshake is done.
    ///
    /// # Errors
    ///
    /// If a file is missing, cannot be read, or holds something else, or others may read the key.
    pub(crate) fn handshake(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(self.roots()?, self.mode == SslMode::VerifyFull, &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Refused)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match self.identity()? {
            Some((chain, key, file)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
                TlsError::File(format!("{} and its key cannot be used: {error}", of_file("sslcert", &file)))
            })?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![stream::ALPN.to_vec()];
        config.enable_sni = self.sends_name;
        // Each connection has a configuration of its own.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// Returns the certificates of the authorities; `None` if no certificate is verified.
    fn roots(&self) -> Result<Option<Vec<CertificateDer<'static>>>, TlsError> {
        let must_verify = self.mode >= SslMode::VerifyCa;
        let (file, is_given) = match &self.root {
            Root::System => return system_roots().map(Some),
            Root::File(file) => (Some(file.clone()), true),
            Root::Default => (beside_home("root.crt"), false),
        };
        match file.filter(|file| file.exists()) {
            Some(file) => certificates("sslrootcert", &file).map(Some),
            // libpq passes over a file that is missing at `require` too, and then verifies nothing.
            None if must_verify || (is_given && self.mode == SslMode::Require) => {
                let place = match &self.root {
                    Root::File(file) => {
                        format!("the file \"{}\" of sslrootcert does not exist", file.display())
                    }
                    _ => format!("sslmode={} needs the certificate of an authority", self.mode.word()),
                };
                Err(TlsError::File(format!(
                    "{place}: name its file in sslrootcert, write sslrootcert=system for the roots of the system, or \
                     sslmode=require without sslrootcert to accept any certificate"
                )))
            }
            None => Ok(None),
        }
    }

    /// Returns the certificate of this process with its chain, the key, and the file of the certificate.
    fn identity(
        &self,
    ) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, PathBuf)>, TlsError> {
        let default = || beside_home("postgresql.crt").filter(|file| file.exists());
        let Some(certificate) = self.certificate.clone().or_else(default) else { return Ok(None) };
        let chain = certificates("sslcert", &certificate)?;
        let Some(key) =
            self.key.clone().or_else(|| beside_home("postgresql.key").filter(|file| file.exists()))
        else {
            let certificate = of_file("sslcert", &certificate);
            return Err(TlsError::File(format!(
                "{certificate} has no key: name the file of its key in sslkey"
            )));
        };
        assert_private(&key)?;
        let named = of_file("sslkey", &key);
        let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| {
            TlsError::File(format!("{named} holds no private key in PEM without a password: {error}"))
        })?;
        Ok(Some((chain, private, certificate)))
    }
}

fn of_file(parameter: &str, file: &Path) -> String {
    format!("the file \"{}\" of {parameter}", file.display())
}

/// Reads certificates in PEM. A file without any is an error.
fn certificates(parameter: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let of_file = of_file(parameter, file);
    let bytes =
        std::fs::read(file).map_err(|error| TlsError::File(format!("{of_file} cannot be read: {error}")))?;
    match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TlsError::File(format!("{of_file} holds no certificate in PEM"))),
        Err(error) => Err(TlsError::File(format!("{of_file} holds no certificate in PEM: {error}"))),
    }
}

/// Checks, by libpq's rule, that nobody else can read a key. The group may read a key that belongs to root, since an
/// application may be a member of a group for that.
fn assert_private(key: &Path) -> Result<(), TlsError> {
    let named = of_file("sslkey", key);
    let about =
        std::fs::metadata(key).map_err(|error| TlsError::File(format!("{named} cannot be read: {error}")))?;
    if !about.is_file() {
        return Err(TlsError::File(format!("{named} is no regular file")));
    }
    let forbidden = if about.uid() == 0 { 0o037 } else { 0o077 };
    if about.mode() & forbidden != 0 {
        return Err(TlsError::File(format!(
            "others can read {named}: 'chmod 600 {}' keeps it private (640 is enough if it belongs to root)",
            key.display()
        )));
    }
    Ok(())
}

/// Returns a file of libpq's folder in the home directory.
fn beside_home(name: &str) -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".postgresql").join(name))
}

/// Returns the roots of the operating system. They are read once: that takes a while.
fn system_roots() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    static ROOTS: OnceLock<Result<Vec<CertificateDer<'static>>, String>> = OnceLock::new();
    let found = ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        match (found.certs.is_empty(), found.errors.first()) {
            (false, _) => Ok(found.certs),
            (true, Some(error)) => Err(format!(": {error}")),
            (true, None) => Err(String::new()),
        }
    });
    found.clone().map_err(|why| {
        TlsError::File(format!(
            "sslrootcert=system finds no certificate on this machine{why}; install the package ca-certificates, or name \
             a file in sslrootcert"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn options(mode: SslMode, root: Root) -> TlsOptions {
        TlsOptions {
            mode,
            root,
            certificate: None,
            key: None,
            negotiation: SslNegotiation::Postgres,
            channel_binding: ChannelBinding::Prefer,
            sends_name: true,
        }
    }

    fn fault(options: &TlsOptions) -> String {
        options.handshake().expect_err("the files cannot be used").to_string()
    }

    #[test]
    fn a_root_that_is_missing_is_an_error_where_it_is_needed() {
        let missing = || Root::File("/nowhere/root.crt".into());
        for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
            let fault = fault(&options(mode, missing()));
            assert!(
                fault.contains("\"/nowhere/root.crt\"") && fault.contains("sslrootcert=system"),
                "{fault}"
            );
        }
        assert!(options(SslMode::Prefer, missing()).handshake().is_ok());
    }

    #[test]
    fn a_file_that_holds_no_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("root.crt");
        for text in ["", "none", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, text).unwrap();
            let fault = fault(&options(SslMode::VerifyCa, Root::File(file.clone())));
            assert!(fault.contains("root.crt\" of sslrootcert holds no certificate in PEM"), "{fault}");
        }
    }

    #[test]
    fn a_certificate_needs_a_key_that_others_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["me".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("me.crt"), folder.path().join("me.key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut options = options(SslMode::Require, Root::Default);
        options.certificate = Some(certificate);
        options.key = Some(key.clone());
        let is_root = std::fs::metadata(&key).unwrap().uid() == 0;
        for (mode, is_private) in
            [(0o600, true), (0o400, true), (0o640, is_root), (0o644, false), (0o660, false)]
        {
            std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
            match options.handshake() {
                Ok(_) => assert!(is_private, "{mode:o} is accepted"),
                Err(error) => {
                    assert!(!is_private && error.to_string().contains("chmod 600"), "{mode:o}: {error}");
                }
            }
        }
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&key, "none").unwrap();
        assert!(fault(&options).contains("holds no private key in PEM"));
        options.key = Some(folder.path().join("nowhere.key"));
        assert!(fault(&options).contains("nowhere.key\" of sslkey cannot be read"));
    }

    #[test]
    fn modes_are_ordered_from_the_weakest_to_the_strictest() {
        assert!(SslMode::WORDS.is_sorted_by_key(|(_, mode)| *mode));
        assert_eq!(SslMode::of("verify-ca").map(SslMode::word), Some("verify-ca"));
        assert_eq!(SslMode::of("Require"), None);
    }
}
