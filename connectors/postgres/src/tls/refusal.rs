//! Why a connection was not encrypted, whether a retry may heal it, and what to write.

use std::error::Error;
use std::io;

use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// Why a connection could not be encrypted. No retry heals it.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file of the connection string cannot be used.
    #[error("{0}")]
    File(String),
    /// The two sides did not agree, or this one does not accept the certificate.
    #[error("{}", advise(.0))]
    Refused(rustls::Error),
    /// A server that was spoken to in TLS at once did not confirm that it speaks Postgres's protocol.
    #[error("the server does not confirm the protocol by ALPN; leave sslnegotiation=direct out")]
    NoAlpn,
}

/// Returns what to do about a connection that was refused in TLS after the handshake; `None` for any other failure.
pub(crate) fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    // In TLS 1.3 the server verifies the client's certificate when the client has finished its handshake.
    let io: &io::Error = error.downcast_ref()?;
    let error: &rustls::Error = io.get_ref()?.downcast_ref()?;
    is_about_our_certificate(error).then(|| advise(error))
}

/// Returns whether a handshake failed for a reason that a retry does not heal. A proxy that is overloaded, or bytes that
/// went wrong on their way, are none.
pub(super) fn is_lasting(error: &rustls::Error) -> bool {
    is_about_our_certificate(error)
        || matches!(
            error,
            rustls::Error::InvalidCertificate(_)
                | rustls::Error::PeerIncompatible(_)
                | rustls::Error::NoApplicationProtocol
                | rustls::Error::AlertReceived(
                    AlertDescription::HandshakeFailure
                        | AlertDescription::InsufficientSecurity
                        | AlertDescription::NoApplicationProtocol
                        | AlertDescription::ProtocolVersion
                        | AlertDescription::UnrecognisedName,
                )
        )
}

/// Returns whether the server does not accept the certificate of this client, or asks for one.
fn is_about_our_certificate(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::AlertReceived(
            AlertDescription::AccessDenied
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRequired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::UnsupportedCertificate,
        )
    )
}

/// Returns what is wrong and what to write.
fn advise(error: &rustls::Error) -> String {
    let text = error.to_string();
    let advice = match error {
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected,
            presented,
        }) => {
            return format!(
                "the server's certificate is for {}, and not for {}; connect by a name of the certificate, or write \
                 sslmode=verify-ca to accept any name",
                match presented.is_empty() {
                    true => "no name in its subjectAltName".to_owned(),
                    false => presented.iter().map(|name| readable(name)).collect::<Vec<_>>().join(", "),
                },
                expected.to_str()
            );
        }
        rustls::Error::InvalidCertificate(
            CertificateError::ExpiredContext { .. } | CertificateError::Expired,
        ) => return "the server's certificate has expired; renew it".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => {
            "; the server's certificate comes from no authority of sslrootcert: name the authority's certificate there"
        }
        // The errors of `webpki` that have no word in `rustls`.
        rustls::Error::InvalidCertificate(CertificateError::Other(_))
            if text.contains("UnsupportedCertVersion") =>
        {
            "; give the server a certificate of version 3, with its host in subjectAltName"
        }
        rustls::Error::InvalidCertificate(CertificateError::Other(_))
            if text.contains("CaUsedAsEndEntity") =>
        {
            "; the server's certificate is that of an authority: name the server's certificate itself in sslrootcert"
        }
        error if is_about_our_certificate(error) => {
            "; the server asks for another certificate of this client, in sslcert and sslkey: its log says why"
        }
        rustls::Error::AlertReceived(_) => "; the server ended the handshake: its log says why",
        _ => "",
    };
    format!("{text}{advice}")
}

/// Returns a name of a certificate without the form in which `rustls` prints it, as in `DnsName("h")`.
fn readable(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_owned()
}
