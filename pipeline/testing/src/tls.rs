//! Certificates for tests, and what a server needs to answer TLS.

use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::Path;

use nix::unistd::{Uid, User};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, as PEM.
    pub certificate: String,
}

/// A certificate and its key, as PEM.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// Creates an authority.
    pub fn new(name: &str) -> Self {
        let mut params = of_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = new_key();
        let certificate = params.self_signed(&key).expect("an authority signs its own certificate").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Signs the certificate of a server.
    pub fn server(&self, host: &str) -> Identity {
        self.sign(of_server(host))
    }

    /// Signs the certificate of a server that has expired years ago.
    pub fn expired_server(&self, host: &str) -> Identity {
        let mut params = of_server(host);
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.sign(params)
    }

    /// Signs the certificate of a user of the database.
    pub fn client(&self, user: &str) -> Identity {
        let mut params = of_name(user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority signs certificates");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    /// Creates the certificate of a server that has signed itself, as `openssl req -x509` does: an authority's.
    pub fn self_signed(host: &str) -> Self {
        let mut params = of_server(host);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = new_key();
        let certificate = params.self_signed(&key).expect("a server signs its own certificate");
        Self { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

fn of_name(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn of_server(host: &str) -> CertificateParams {
    let mut params = CertificateParams::new([host.to_owned()]).expect("a host is a name");
    params.distinguished_name.push(DnType::CommonName, host);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key can be generated")
}

/// Writes what a server needs to answer TLS into `folder`, which is created: its certificate and key, `root.crt` of the
/// authority, and the lines of its `pg_hba.conf`. Returns the settings of the server, whose socket is there too.
///
/// # Panics
///
/// If a file cannot be written.
pub fn server_settings(
    folder: &Path,
    authority: &Authority,
    identity: &Identity,
    pg_hba: &str,
) -> Vec<(String, String)> {
    std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("cannot create {folder:?}: {error}"));
    let file = |setting: &str, name: &str, text: &str| {
        let path = folder.join(name);
        write_private(&path, text);
        give_to_server(&path);
        (setting.to_owned(), path.display().to_string())
    };
    give_to_server(folder);
    let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        setting("ssl", "on"),
        file("ssl_cert_file", "server.crt", &identity.certificate),
        file("ssl_key_file", "server.key", &identity.key),
        file("ssl_ca_file", "root.crt", &authority.certificate),
        file("hba_file", "pg_hba.conf", pg_hba),
        setting("unix_socket_directories", &folder.display().to_string()),
    ]
}

/// Writes a file that only its owner can read.
///
/// # Panics
///
/// If it cannot be written.
pub fn write_private(path: &Path, text: &str) {
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.unwrap_or_else(|error| panic!("cannot write {path:?}: {error}"));
}

/// Gives a file to the user that a private server runs as.
fn give_to_server(path: &Path) {
    if !Uid::effective().is_root() {
        return;
    }
    let user = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten());
    let user = user.expect("there is a user 'postgres' or 'nobody'");
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
        .unwrap_or_else(|error| panic!("cannot change the owner of {path:?}: {error}"));
}
