//! Tokens: who may use the HTTP API. Only their hashes are kept.

use std::time::SystemTime;

use super::{Error, Postgres};

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Send rows, and see what became of them.
    Ingest,
    /// Look at everything.
    Read,
    /// All of it: move dead letters, back up, restore.
    Operate,
}

impl Role {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Ingest, Self::Read, Self::Operate].into_iter().find(|role| role.as_str() == text)
    }

    /// Whether it may do what `asked` may.
    pub fn may(self, asked: Self) -> bool {
        self == asked || self == Self::Operate
    }
}

/// A token as Postgres knows it.
#[derive(Clone, Debug)]
pub struct Token {
    /// What people know it by.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// BLAKE3 of it. It is long and random, so nobody guesses it from that.
    pub hash: Vec<u8>,
    /// From when on it is good for nothing.
    pub expires_at: Option<SystemTime>,
}

impl Token {
    /// The hash under which a token is kept.
    pub fn hash_of(token: &str) -> [u8; 32] {
        *blake3::hash(token.as_bytes()).as_bytes()
    }
}

impl Postgres {
    /// All tokens, by name.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn tokens(&self) -> Result<Vec<Token>, Error> {
        let sql = "select name, role, hash, expires_at from tidegate.tokens order by name";
        let rows = self.connection().await?.query(sql, &[]).await?;
        let token = |row: &tokio_postgres::Row| {
            let role = Role::parse(row.get(1))?;
            Some(Token { name: row.get(0), role, hash: row.get(2), expires_at: row.get(3) })
        };
        Ok(rows.iter().filter_map(token).collect())
    }

    /// Keeps a token. `false` if there is one of that name.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn create_token(&self, token: &Token) -> Result<bool, Error> {
        let sql = "insert into tidegate.tokens (name, role, hash, expires_at) values ($1, $2, $3, $4) \
                   on conflict (name) do nothing";
        let Token { name, role, hash, expires_at } = token;
        let created =
            self.connection().await?.execute(sql, &[name, &role.as_str(), hash, expires_at]).await?;
        Ok(created > 0)
    }

    /// Forgets a token. `false` if there is none of that name.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn delete_token(&self, name: &str) -> Result<bool, Error> {
        let sql = "delete from tidegate.tokens where name = $1";
        Ok(self.connection().await?.execute(sql, &[&name]).await? > 0)
    }
}
