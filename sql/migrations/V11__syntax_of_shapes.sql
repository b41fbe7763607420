-- How the files of a shape are written, where delimiter, quote, header and one text for null do not say it all: encoding,
-- escapes, lines that are no records, and so on.

-- As JSON; null where the other columns say it all.
alter table tidegate.shapes add column more text;

alter table tidegate.shapes
drop constraint shapes_dataset_columns_header_delimiter_quote_null_text_rul_key;

-- Names of columns may be longer, all together, than an entry of an index.
create unique index shapes_of_one_form on tidegate.shapes (
    dataset,
    hash_array_extended(columns, 0),
    hash_array_extended(columns, 1),
    header,
    delimiter,
    quote,
    null_text,
    rules,
    md5(more)
) nulls not distinct;

-- How many lines of a source are no records, by the rule that skips them.
alter table tidegate.sources add column skipped jsonb;
