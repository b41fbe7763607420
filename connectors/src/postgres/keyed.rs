//! Requests that name themselves, so that they can be sent again until they are answered: what they ask for is done
//! once. Those that bring lines are registered with them, see [`requests`](super::requests).

use deadpool_postgres::{GenericClient, Transaction};
use tokio_postgres::types::{FromSqlOwned, ToSql};

use super::Error;

/// How a request names itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// What makes it one and the same: who sent it, where to, and under which key.
    pub identity: [u8; 32],
    /// BLAKE3 of what was sent.
    pub content: [u8; 32],
}

/// What a request has become before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before<T> {
    /// Nothing: it is new.
    Nothing,
    /// This.
    Became(T),
    /// Another one has its name.
    Another,
}

/// What a request can become: the columns of `tidegate.requests`.
#[derive(Clone, Copy)]
pub(super) enum Becomes {
    Move,
    Job,
    Restore,
    Reload,
}

impl Becomes {
    fn column(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Job => "job",
            Self::Restore => "restore",
            Self::Reload => "reload",
        }
    }
}

impl Keyed {
    /// What the request has become before. If it is new, it is named in `tx`, which is to do what it asks for and to
    /// note that with [`Keyed::became`].
    pub(super) async fn claim<T: FromSqlOwned>(
        &self,
        tx: &Transaction<'_>,
        this: Becomes,
    ) -> Result<Before<T>, Error> {
        let sql = include_str!("../../../sql/queries/name_request.sql");
        match tx.query_opt(sql, &[&&self.identity[..], &&self.content[..]]).await? {
            Some(_) => Ok(Before::Nothing),
            // Asked by a statement of its own, which sees what the first has waited for.
            None => self.before(tx, this).await,
        }
    }

    /// What the request has become before.
    pub(super) async fn before<T: FromSqlOwned>(
        &self,
        client: &impl GenericClient,
        this: Becomes,
    ) -> Result<Before<T>, Error> {
        let sql = format!("select content, {} from tidegate.requests where identity = $1", this.column());
        Ok(match client.query_opt(&sql, &[&&self.identity[..]]).await? {
            None => Before::Nothing,
            Some(row) if row.get::<_, &[u8]>(0) != self.content => Before::Another,
            Some(row) => row.get::<_, Option<T>>(1).map_or(Before::Another, Before::Became),
        })
    }

    /// Notes what the request has become.
    pub(super) async fn became(
        &self,
        tx: &Transaction<'_>,
        this: Becomes,
        it: &(dyn ToSql + Sync),
    ) -> Result<(), Error> {
        let sql = format!("update tidegate.requests set {} = $2 where identity = $1", this.column());
        tx.execute(&sql, &[&&self.identity[..], it]).await?;
        Ok(())
    }
}
