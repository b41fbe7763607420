//! The ways in which a row of the example is broken.

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A required column is empty; the number is the column's, from 0.
    Missing(usize),
    /// Name and datetime are both empty: two reasons in one row.
    MissingTwo,
    /// Nothing but commas.
    MissingAll,
    /// The id is a text.
    IdText,
    /// The id has a fraction.
    IdFraction,
    /// The id is too large for an `integer`.
    IdOutOfRange,
    /// The datetime is 30 February.
    NoSuchDay,
    /// The datetime is a word.
    DatetimeText,
    /// The datetime has an hour 25.
    NoSuchHour,
    /// The datetime has slashes.
    DatetimeSlashes,
    /// The datetime has its day first.
    DatetimeDayFirst,
    /// The department is a name instead of a number.
    DepartmentText,
    /// The job is a name instead of a number.
    JobText,
    /// The last column is not there.
    TooFewColumns,
    /// There is a sixth column.
    TooManyColumns,
    /// The department does not exist: the row waits for it.
    UnknownDepartment,
    /// The job does not exist: the row waits for it.
    UnknownJob,
}

impl Fault {
    /// Every fault, and how many rows of the example have it.
    pub const ALL: [(Fault, usize); 21] = [
        (Fault::Missing(0), 6),
        (Fault::Missing(1), 8),
        (Fault::Missing(2), 8),
        (Fault::Missing(3), 8),
        (Fault::Missing(4), 8),
        (Fault::MissingTwo, 3),
        (Fault::MissingAll, 1),
        (Fault::IdText, 2),
        (Fault::IdFraction, 1),
        (Fault::IdOutOfRange, 2),
        (Fault::NoSuchDay, 2),
        (Fault::DatetimeText, 2),
        (Fault::NoSuchHour, 2),
        (Fault::DatetimeSlashes, 2),
        (Fault::DatetimeDayFirst, 1),
        (Fault::DepartmentText, 2),
        (Fault::JobText, 2),
        (Fault::TooFewColumns, 3),
        (Fault::TooManyColumns, 3),
        (Fault::UnknownDepartment, 2),
        (Fault::UnknownJob, 2),
    ];

    /// What is wrong, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Fault::Missing(0) => "no id",
            Fault::Missing(1) => "no name",
            Fault::Missing(2) => "no datetime",
            Fault::Missing(3) => "no department",
            Fault::Missing(_) => "no job",
            Fault::MissingTwo => "neither name nor datetime",
            Fault::MissingAll => "nothing but commas",
            Fault::IdText => "the id is a text",
            Fault::IdFraction => "the id has a fraction",
            Fault::IdOutOfRange => "the id is too large for an `integer`",
            Fault::NoSuchDay => "30 February",
            Fault::DatetimeText => "the datetime is a word",
            Fault::NoSuchHour => "25 o'clock",
            Fault::DatetimeSlashes => "the datetime has slashes",
            Fault::DatetimeDayFirst => "the datetime has its day first",
            Fault::DepartmentText => "the department is a name",
            Fault::JobText => "the job is a name",
            Fault::TooFewColumns => "four columns",
            Fault::TooManyColumns => "six columns",
            Fault::UnknownDepartment => "a department that does not exist: the row waits for it",
            Fault::UnknownJob => "a job that does not exist: the row waits for it",
        }
    }

    /// Appends a row, spoilt.
    pub(super) fn write(self, line: &mut Vec<u8>, fields: Vec<String>) {
        join(line, fields, |fields| self.spoil(fields));
    }

    fn spoil(self, fields: &mut Vec<String>) {
        let time = fields[2].split_off(10);
        let date = std::mem::take(&mut fields[2]);
        fields[2] = match self {
            Fault::Missing(2) | Fault::MissingTwo => String::new(),
            Fault::NoSuchDay => format!("2021-02-30{time}"),
            Fault::DatetimeText => "last summer".to_owned(),
            Fault::NoSuchHour => format!("{date}T25{}", &time[3..]),
            Fault::DatetimeSlashes => date.replace('-', "/"),
            Fault::DatetimeDayFirst => format!("{}.{}.{}", &date[8..], &date[5..7], &date[..4]),
            _ => format!("{date}{time}"),
        };
        match self {
            Fault::Missing(column) => fields[column].clear(),
            Fault::MissingTwo => fields[1].clear(),
            Fault::MissingAll => fields.iter_mut().for_each(String::clear),
            Fault::IdText => fields[0].insert_str(0, "no. "),
            Fault::IdFraction => fields[0].push_str(".5"),
            Fault::IdOutOfRange => fields[0].insert_str(0, "30000000"),
            Fault::DepartmentText => fields[3] = super::words::department(3),
            Fault::JobText => fields[4] = super::words::job(7),
            Fault::TooFewColumns => drop(fields.pop()),
            Fault::TooManyColumns => fields.push("remote".to_owned()),
            Fault::UnknownDepartment => fields[3] = "99".to_owned(),
            Fault::UnknownJob => fields[4] = "999".to_owned(),
            _ => {}
        }
    }
}

/// Appends `fields`, after `change`, as a CSV line without its ending.
pub(super) fn join(line: &mut Vec<u8>, mut fields: Vec<String>, change: impl FnOnce(&mut Vec<String>)) {
    change(&mut fields);
    line.extend_from_slice(fields.join(",").as_bytes());
}
