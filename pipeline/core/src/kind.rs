//! The types a column may have.

use std::fmt;
use std::ops::RangeInclusive;

use crate::suggestion::did_you_mean;

const PRECISION_MAX: u16 = 1000;
const VARCHAR_MAX: u32 = 10_485_760;

/// The types by their names without arguments, in the order in which messages list them.
const NAMES: [(&str, Kind); 15] = [
    ("smallint", Kind::SmallInt),
    ("integer", Kind::Integer),
    ("bigint", Kind::BigInt),
    ("numeric", Kind::NUMERIC),
    ("real", Kind::Real),
    ("double", Kind::Double),
    ("boolean", Kind::Boolean),
    ("text", Kind::Text),
    ("varchar", Kind::Varchar(0)),
    ("date", Kind::Date),
    ("time", Kind::Time),
    ("timestamp", Kind::Timestamp),
    ("timestamptz", Kind::Timestamptz),
    ("uuid", Kind::Uuid),
    ("jsonb", Kind::Jsonb),
];

/// The type of a column. `Display` writes it as the manifest does, [`Kind::sql`] as Postgres does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An integer of two bytes.
    SmallInt,
    /// An integer of four bytes.
    Integer,
    /// An integer of eight bytes.
    BigInt,
    /// An exact decimal number.
    Numeric {
        /// The most digits in all. `None` allows any number.
        precision: Option<u16>,
        /// The most digits after the point. `None` with a precision allows none.
        scale: Option<u16>,
    },
    /// A floating-point number of four bytes.
    Real,
    /// A floating-point number of eight bytes.
    Double,
    /// True or false.
    Boolean,
    /// Text of any length.
    Text,
    /// Text of at most this many characters.
    Varchar(u32),
    /// A day.
    Date,
    /// A time of day, without a zone.
    Time,
    /// A day and a time, without a zone.
    Timestamp,
    /// An instant: a day and a time with a zone.
    Timestamptz,
    /// A UUID.
    Uuid,
    /// A JSON document.
    Jsonb,
}

impl Kind {
    /// A decimal number of any size.
    pub const NUMERIC: Self = Self::Numeric { precision: None, scale: None };

    /// Reads a type as the manifest writes it: `integer`, `numeric(12,2)`, `varchar(255)`.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let (name, arguments) = split_arguments(text)?;
        match (NAMES.iter().find(|(known, _)| *known == name), arguments) {
            (Some((_, Self::Numeric { .. })), arguments) => numeric(arguments),
            (Some((_, Self::Varchar(_))), arguments) => varchar(arguments),
            (Some((_, kind)), None) => Ok(*kind),
            (Some(_), Some(_)) => {
                Err((format!("\"{name}\" takes no arguments"), "write it without \"(…)\"".into()))
            }
            (None, _) => Err((format!("\"{text}\" is no type"), instead_of(name))),
        }
    }

    /// The type's name as Postgres's `format_type` prints it: `character varying(255)`.
    pub fn sql(&self) -> String {
        match *self {
            Self::Double => "double precision".into(),
            Self::Varchar(length) => format!("character varying({length})"),
            Self::Time => "time without time zone".into(),
            Self::Timestamp => "timestamp without time zone".into(),
            Self::Timestamptz => "timestamp with time zone".into(),
            Self::Numeric { precision: Some(precision), scale } => {
                format!("numeric({precision},{})", scale.unwrap_or(0))
            }
            _ => self.to_string(),
        }
    }

    /// Whether the type is an integer.
    pub fn is_integer(&self) -> bool {
        self.integers().is_some()
    }

    /// Whether the type is any number.
    pub fn is_number(&self) -> bool {
        self.is_integer() || matches!(self, Self::Numeric { .. } | Self::Real | Self::Double)
    }

    /// Whether the type is text, of limited length or not.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text | Self::Varchar(_))
    }

    /// Whether the type is a point in time: a date, a time, or both.
    pub fn is_instant(&self) -> bool {
        matches!(self, Self::Date | Self::Time | Self::Timestamp | Self::Timestamptz)
    }

    /// The values of an integer type.
    pub(crate) fn integers(self) -> Option<RangeInclusive<i64>> {
        match self {
            Self::SmallInt => Some(i16::MIN.into()..=i16::MAX.into()),
            Self::Integer => Some(i32::MIN.into()..=i32::MAX.into()),
            Self::BigInt => Some(i64::MIN..=i64::MAX),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Numeric { precision: Some(precision), scale: Some(scale) } => {
                write!(f, "numeric({precision},{scale})")
            }
            Self::Numeric { precision: Some(precision), scale: None } => write!(f, "numeric({precision})"),
            Self::Varchar(length) => write!(f, "varchar({length})"),
            _ => NAMES.iter().filter(|(_, kind)| kind == self).try_for_each(|(name, _)| f.write_str(name)),
        }
    }
}

/// What is wrong with a type, and what to write instead.
type Wrong = (String, String);

/// Splits `name` or `name(a,b)` into the name and its arguments.
fn split_arguments(text: &str) -> Result<(&str, Option<Vec<&str>>), Wrong> {
    let Some((name, rest)) = text.split_once('(') else { return Ok((text.trim(), None)) };
    let Some(inner) = rest.trim_end().strip_suffix(')') else {
        return Err((format!("\"{text}\" is no type"), "close its \"(\"".into()));
    };
    Ok((name.trim(), Some(inner.split(',').map(str::trim).collect())))
}

fn numeric(arguments: Option<Vec<&str>>) -> Result<Kind, Wrong> {
    let wrong = || {
        let hint = format!(
            "write numeric, numeric(p) or numeric(p,s), with p from 1 to {PRECISION_MAX} and s from 0 to p"
        );
        ("numeric takes a precision and a scale".to_owned(), hint)
    };
    let Some(arguments) = arguments else { return Ok(Kind::NUMERIC) };
    let numbers: Vec<u16> =
        arguments.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let (precision, scale) = match numbers[..] {
        [precision] => (precision, None),
        [precision, scale] => (precision, Some(scale)),
        _ => return Err(wrong()),
    };
    if precision == 0 || precision > PRECISION_MAX || scale > Some(precision) {
        return Err(wrong());
    }
    Ok(Kind::Numeric { precision: Some(precision), scale })
}

fn varchar(arguments: Option<Vec<&str>>) -> Result<Kind, Wrong> {
    let length = match arguments.as_deref() {
        Some([length]) => length.parse().ok().filter(|length| (1..=VARCHAR_MAX).contains(length)),
        _ => None,
    };
    length.map(Kind::Varchar).ok_or_else(|| {
        let hint = format!("write varchar(n), with n from 1 to {VARCHAR_MAX}, or text");
        ("varchar takes a length".to_owned(), hint)
    })
}

/// A hint at the type that was probably meant: the manifest's name for one of Postgres's, or the nearest name.
fn instead_of(name: &str) -> String {
    let alias = match name.to_ascii_lowercase().as_str() {
        "int" | "int4" | "serial" => Some("integer"),
        "int2" => Some("smallint"),
        "int8" | "long" | "bigserial" => Some("bigint"),
        "decimal" | "money" => Some("numeric"),
        "float" | "float8" | "double precision" => Some("double"),
        "float4" => Some("real"),
        "bool" => Some("boolean"),
        "string" | "str" | "char" | "character" => Some("text"),
        "character varying" => Some("varchar"),
        "datetime" | "timestamp with time zone" => Some("timestamptz"),
        "timestamp without time zone" => Some("timestamp"),
        "json" => Some("jsonb"),
        _ => None,
    };
    let names = NAMES.map(|(name, _)| name);
    match alias {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => did_you_mean(name, &names, || format!("types are {}", names.join(", "))),
    }
}
