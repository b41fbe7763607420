//! A publication for all tables, as tools for change data capture make one, stops nothing.

use crate::company;
use crate::home::Home;

/// Enough changes of the views for a folding.
async fn fold(home: &Home) {
    let mut many: String = String::new();
    for id in 0..30_000 {
        many.push_str(&format!("{},N,{}-02-01T00:00:00Z,1,1\n", 100_000 + id, 1000 + id % 8000));
    }
    home.drop("hired_employees_2.csv", many);
    home.ingest().await;
    let left = "select count(*) < 20000 from tidegate.view_hires_by_quarter";
    assert_eq!(home.query(left).await, ["t"], "it was folded");
}

#[tokio::test]
async fn views_are_folded_where_all_tables_are_published() {
    let home = company::embedded(company::MANIFEST).await;
    company::drop_example(&home);
    home.query("create publication everything for all tables").await;
    home.ingest().await;
    fold(&home).await;
    company::assert_views_hold(&home).await;
}

#[tokio::test]
async fn stores_of_an_earlier_version_are_folded_too() {
    let home = company::embedded(company::MANIFEST).await;
    company::drop_example(&home);
    home.ingest().await;
    home.query("alter table tidegate.view_hires_by_quarter replica identity default").await;
    // Shapes that only the column of a later version tells apart are told apart by their rules.
    home.query(
        "delete from tidegate.migrations where version >= 10; \
         alter table tidegate.sources drop column skipped; \
         update tidegate.shapes set rules = shape; \
         drop index tidegate.shapes_of_one_form; \
         alter table tidegate.shapes drop column more, \
         add constraint shapes_dataset_columns_header_delimiter_quote_null_text_rul_key \
         unique nulls not distinct (dataset, columns, header, delimiter, quote, null_text, rules)",
    )
    .await;
    home.query("create publication everything for all tables").await;
    fold(&home).await;
    company::assert_views_hold(&home).await;
}

#[tokio::test]
async fn every_table_of_tidegate_can_be_changed_where_all_tables_are_published() {
    let home = company::embedded(company::MANIFEST).await;
    company::drop_example(&home);
    home.ingest().await;
    let lacking = "select relname from pg_class where relnamespace = 'tidegate'::regnamespace and relkind = 'r' \
                   and relreplident <> 'f' \
                   and not exists (select from pg_index where indrelid = pg_class.oid and indisprimary)";
    assert_eq!(home.query(lacking).await, Vec::<String>::new());
}
