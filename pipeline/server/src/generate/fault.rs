//! The faults of broken rows in the example.

/// The fault of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowFault {
    /// A required column is empty; the number is the column's, from 0.
    Missing(usize),
    /// Name and datetime are both empty: two reasons in one row.
    MissingTwo,
    /// The row consists of commas alone.
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
    /// The last column is missing.
    TooFewColumns,
    /// There is a sixth column.
    TooManyColumns,
    /// The department does not exist: the row waits for it.
    UnknownDepartment,
    /// The job does not exist: the row waits for it.
    UnknownJob,
}

impl RowFault {
    /// Every fault, how many rows of the example have it, and what is wrong in words.
    pub const ALL: [(RowFault, usize, &str); 21] = [
        (RowFault::Missing(0), 6, "no id"),
        (RowFault::Missing(1), 8, "no name"),
        (RowFault::Missing(2), 8, "no datetime"),
        (RowFault::Missing(3), 8, "no department"),
        (RowFault::Missing(4), 8, "no job"),
        (RowFault::MissingTwo, 3, "neither name nor datetime"),
        (RowFault::MissingAll, 1, "nothing but commas"),
        (RowFault::IdText, 2, "the id is a text"),
        (RowFault::IdFraction, 1, "the id has a fraction"),
        (RowFault::IdOutOfRange, 2, "the id is too large for an `integer`"),
        (RowFault::NoSuchDay, 2, "30 February"),
        (RowFault::DatetimeText, 2, "the datetime is a word"),
        (RowFault::NoSuchHour, 2, "25 o'clock"),
        (RowFault::DatetimeSlashes, 2, "the datetime has slashes"),
        (RowFault::DatetimeDayFirst, 1, "the datetime has its day first"),
        (RowFault::DepartmentText, 2, "the department is a name"),
        (RowFault::JobText, 2, "the job is a name"),
        (RowFault::TooFewColumns, 3, "four columns"),
        (RowFault::TooManyColumns, 3, "six columns"),
        (RowFault::UnknownDepartment, 2, "a department that does not exist: the row waits for it"),
        (RowFault::UnknownJob, 2, "a job that does not exist: the row waits for it"),
    ];

    /// Changes the fields of a whole row so that the row has this fault.
    pub(super) fn spoil(self, fields: &mut Vec<String>) {
        let time = fields[2].split_off(10);
        let date = std::mem::take(&mut fields[2]);
        fields[2] = match self {
            RowFault::Missing(2) | RowFault::MissingTwo => String::new(),
            RowFault::NoSuchDay => format!("2021-02-30{time}"),
            RowFault::DatetimeText => "last summer".to_owned(),
            RowFault::NoSuchHour => format!("{date}T25{}", &time[3..]),
            RowFault::DatetimeSlashes => date.replace('-', "/"),
            RowFault::DatetimeDayFirst => format!("{}.{}.{}", &date[8..], &date[5..7], &date[..4]),
            _ => format!("{date}{time}"),
        };
        match self {
            RowFault::Missing(column) => fields[column].clear(),
            RowFault::MissingTwo => fields[1].clear(),
            RowFault::MissingAll => fields.iter_mut().for_each(String::clear),
            RowFault::IdText => fields[0].insert_str(0, "no. "),
            RowFault::IdFraction => fields[0].push_str(".5"),
            RowFault::IdOutOfRange => fields[0].insert_str(0, "30000000"),
            RowFault::DepartmentText => fields[3] = super::words::department(3),
            RowFault::JobText => fields[4] = super::words::job(7),
            RowFault::TooFewColumns => drop(fields.pop()),
            RowFault::TooManyColumns => fields.push("remote".to_owned()),
            RowFault::UnknownDepartment => fields[3] = "99".to_owned(),
            RowFault::UnknownJob => fields[4] = "999".to_owned(),
            _ => {}
        }
    }
}
