//! Whoever's session it is: roles with settings, timeouts and few rights, poolers, and where tables lie.

mod pooler;
mod pools;
mod times;
mod timeouts;
mod roles;
mod findings;
mod placement;
mod publications;

use crate::home::Home;

/// A role of one test, with a name that no other has, and the url by which it enters the home's database.
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) url: String,
}

impl Role {
    /// A role that may log in, and nothing else yet.
    pub(crate) async fn new(home: &Home) -> Self {
        let name = format!("role_{}", uuid::Uuid::new_v4().simple());
        home.query(&format!("create role {name} login password 'x'")).await;
        let config: tokio_postgres::Config = home.url.parse().unwrap();
        let (port, database) = (config.get_ports()[0], config.get_dbname().unwrap());
        Self { url: format!("postgres://{name}:x@127.0.0.1:{port}/{database}"), name }
    }

    /// What the README grants to the role that a pipeline runs as.
    pub(crate) async fn owner(home: &Home) -> Self {
        let role = Self::new(home).await;
        let database = database(home).await;
        role.grant(home, &format!("create, temporary on database \"{database}\"")).await;
        role.grant(home, "usage, create on schema public").await;
        role
    }

    pub(crate) async fn grant(&self, home: &Home, what: &str) {
        home.query(&format!("grant {what} to {}", self.name)).await;
    }

    pub(crate) async fn set(&self, home: &Home, setting: &str) {
        home.query(&format!("alter role {} set {setting}", self.name)).await;
    }
}

pub(crate) async fn database(home: &Home) -> String {
    home.query("select current_database()").await.remove(0)
}
