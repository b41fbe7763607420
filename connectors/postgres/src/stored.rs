//! Enums that Postgres stores as words.

pub use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
pub use tidegate_core::words;
pub use tokio_postgres::types::{FromSql, Type};

/// A word that no variant of an enum has.
#[derive(Debug, thiserror::Error)]
#[error("'{word}' is no {of}; a newer version of Tidegate may have stored it")]
pub struct UnknownWord {
    /// The word.
    pub word: String,
    /// The name of the enum.
    pub of: &'static str,
}

/// Defines an enum by the words that Postgres stores for its variants. Reading a column fails on any other word.
#[macro_export]
macro_rules! stored_enum {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $crate::stored::words! { $(#[$meta])* pub enum $name { $($(#[$doc])* $variant = $word,)+ } }

        impl std::str::FromStr for $name {
            type Err = $crate::stored::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                let unknown = || $crate::stored::UnknownWord { word: word.to_owned(), of: stringify!($name) };
                Self::ALL.into_iter().find(|variant| variant.as_str() == word).ok_or_else(unknown)
            }
        }

        impl<'a> $crate::stored::FromSql<'a> for $name {
            fn from_sql(
                kind: &$crate::stored::Type,
                raw: &'a [u8],
            ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
                Ok(<&str as $crate::stored::FromSql>::from_sql(kind, raw)?.parse::<Self>()?)
            }

            fn accepts(kind: &$crate::stored::Type) -> bool {
                <&str as $crate::stored::FromSql>::accepts(kind)
            }
        }

        impl $crate::stored::Serialize for $name {
            fn serialize<S: $crate::stored::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> $crate::stored::Deserialize<'de> for $name {
            fn deserialize<D: $crate::stored::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'de, str> as $crate::stored::Deserialize>::deserialize(deserializer)?;
                word.parse().map_err($crate::stored::de::Error::custom)
            }
        }
    };
}
