//! The types a column may have.

use std::fmt;

/// The name of each type without its arguments, in the order in which messages list them.
const NAMES: [&str; 15] = [
    "smallint",
    "integer",
    "bigint",
    "numeric",
    "real",
    "double",
    "boolean",
    "text",
    "varchar",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "uuid",
    "jsonb",
];

/// What is wrong with a type, and what to write instead.
type Wrong = (String, String);

const PRECISION_MAX: u16 = 1000;
const VARCHAR_MAX: u32 = 10_485_760;

/// The type of a column. `Display` writes it as the manifest does, [`Kind::sql`] as Postgres does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A whole number of two bytes.
    SmallInt,
    /// A whole number of four bytes.
    Integer,
    /// A whole number of eight bytes.
    BigInt,
    /// An exact decimal number.
    Numeric {
        /// How many digits there may be in all; `None` means any number.
        precision: Option<u16>,
        /// How many of them stand behind the point; `None` with a precision means none.
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
    /// Text of at most so many characters.
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
    /// Reads a type as the manifest writes it: `integer`, `numeric(12,2)`, `varchar(255)`.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead, as one text: `message; hint`.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text).map_err(|(message, hint)| format!("{message}; {hint}"))
    }

    /// As [`Kind::parse`], with what is wrong and what to do apart.
    pub(super) fn read(text: &str) -> Result<Self, Wrong> {
        let (name, arguments) = split_arguments(text)?;
        if let Some(plain) = Self::without_arguments(name) {
            return match arguments {
                None => Ok(plain),
                Some(_) => Err((format!("\"{name}\" takes no arguments"), "write it without \"(…)\"".into())),
            };
        }
        match name {
            "numeric" => numeric(arguments),
            "varchar" => varchar(arguments),
            _ => Err((format!("\"{text}\" is no type"), instead_of(name))),
        }
    }

    /// The name as Postgres's `format_type` prints it: `character varying(255)`.
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

    /// Whether it is one of the whole numbers.
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::SmallInt | Self::Integer | Self::BigInt)
    }

    /// Whether it is a number of any kind.
    pub fn is_number(&self) -> bool {
        self.is_integer() || matches!(self, Self::Numeric { .. } | Self::Real | Self::Double)
    }

    /// Whether it is text, of limited length or not.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text | Self::Varchar(_))
    }

    /// Whether it is a point in time: a date, a time, or both.
    pub fn is_instant(&self) -> bool {
        matches!(self, Self::Date | Self::Time | Self::Timestamp | Self::Timestamptz)
    }

    fn without_arguments(name: &str) -> Option<Self> {
        Some(match name {
            "smallint" => Self::SmallInt,
            "integer" => Self::Integer,
            "bigint" => Self::BigInt,
            "real" => Self::Real,
            "double" => Self::Double,
            "boolean" => Self::Boolean,
            "text" => Self::Text,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::Timestamptz,
            "uuid" => Self::Uuid,
            "jsonb" => Self::Jsonb,
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::SmallInt => "smallint",
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Numeric { precision: Some(precision), scale: Some(scale) } => {
                return write!(f, "numeric({precision},{scale})");
            }
            Self::Numeric { precision: Some(precision), scale: None } => {
                return write!(f, "numeric({precision})");
            }
            Self::Numeric { precision: None, .. } => "numeric",
            Self::Real => "real",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Text => "text",
            Self::Varchar(length) => return write!(f, "varchar({length})"),
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::Timestamptz => "timestamptz",
            Self::Uuid => "uuid",
            Self::Jsonb => "jsonb",
        };
        f.write_str(name)
    }
}

/// `name` or `name(a,b)` to the name and its arguments.
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
    let Some(arguments) = arguments else { return Ok(Kind::Numeric { precision: None, scale: None }) };
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

/// The type that was probably meant: one that Postgres calls otherwise, or the nearest name.
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
    match alias.or_else(|| super::fault::nearest(name, NAMES)) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("types are {}", NAMES.join(", ")),
    }
}
