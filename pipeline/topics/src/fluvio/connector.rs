//! How connections are made, encrypted or not.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use fluvio::config::{TlsCerts, TlsConfig, TlsPaths, TlsPolicy};
use fluvio_future::net::{
    BoxReadConnection, BoxWriteConnection, ConnectionFd, DomainConnector, TcpDomainConnector,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

/// Opens connections for the client library.
#[derive(Clone)]
pub(super) struct Connector {
    /// The TLS configuration, if connections are encrypted.
    tls: Option<Arc<ClientConfig>>,
    /// The domain that the peer's certificate must be for.
    domain: String,
}

impl Connector {
    /// Reads the certificates, if connections are encrypted.
    pub(super) fn new(policy: &TlsPolicy) -> Result<Self, String> {
        let certs = match policy {
            TlsPolicy::Disabled => return Ok(Self { tls: None, domain: String::new() }),
            TlsPolicy::Anonymous => {
                return Err("the profile does not verify the cluster's certificate".to_owned());
            }
            TlsPolicy::Verified(TlsConfig::Files(paths)) => &read(paths)?,
            TlsPolicy::Verified(TlsConfig::Inline(certs)) => certs,
        };
        Ok(Self { tls: Some(Arc::new(config(certs)?)), domain: certs.domain.clone() })
    }
}

#[async_trait]
impl TcpDomainConnector for Connector {
    async fn connect(
        &self,
        address: &str,
    ) -> io::Result<(BoxWriteConnection, BoxReadConnection, ConnectionFd)> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let fd = stream.as_raw_fd();
        let Some(tls) = &self.tls else {
            let (read, write) = stream.into_split();
            return Ok((Box::new(write.compat_write()), Box::new(read.compat()), fd));
        };
        let name = ServerName::try_from(self.domain.clone()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
        let (read, write) = tokio::io::split(stream);
        Ok((Box::new(write.compat_write()), Box::new(read.compat()), fd))
    }

    fn new_domain(&self, domain: String) -> DomainConnector {
        Box::new(Self { tls: self.tls.clone(), domain })
    }

    fn domain(&self) -> &str {
        &self.domain
    }

    fn clone_box(&self) -> DomainConnector {
        Box::new(self.clone())
    }
}

fn read(paths: &TlsPaths) -> Result<TlsCerts, String> {
    let text = |path: &Path| {
        fs::read_to_string(path).map_err(|error| format!("'{}' cannot be read: {error}", path.display()))
    };
    Ok(TlsCerts {
        domain: paths.domain.clone(),
        key: text(&paths.key)?,
        cert: text(&paths.cert)?,
        ca_cert: text(&paths.ca_cert)?,
    })
}

fn config(certs: &TlsCerts) -> Result<ClientConfig, String> {
    let certificates = |pem: &str, what: &str| {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let all = all.map_err(|error| format!("{what} is no PEM: {error}"))?;
        if all.is_empty() { Err(format!("{what} holds no certificate")) } else { Ok(all) }
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&certs.ca_cert, "the authority's certificate")? {
        roots.add(certificate).map_err(|error| format!("the authority's certificate: {error}"))?;
    }
    let chain = certificates(&certs.cert, "our certificate")?;
    let key = PrivateKeyDer::from_pem_slice(certs.key.as_bytes())
        .map_err(|error| format!("the key is no PEM of a private key: {error}"))?;
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("our certificate and key: {error}"))
}
