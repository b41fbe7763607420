//! Rows that Postgres alone refuses.

use tidegate_core::contract::Tally;
use tidegate_core::dead_letter::Code;
use tidegate_core::ledger::Effects;
use tidegate_testing::company;

use super::fixture::{Fixture, delivery, fates};

#[tokio::test]
async fn a_row_that_postgres_refuses_is_a_dead_letter_and_the_rest_is_applied() {
    let fixture = Fixture::new(company::MANIFEST).await;
    fixture.execute("alter table departments add constraint short check (length(department) < 6)").await;
    let texts: Vec<String> =
        (1..=100).map(|id| format!("{id},{}", if id % 33 == 0 { "Procurement" } else { "Sales" })).collect();
    let lines: Vec<_> = texts.iter().zip(1..).map(|(text, line)| (0, 1, line, text.as_str())).collect();
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    let effects = Effects { inserted: 97, ..Effects::default() };
    assert_eq!(applied.tallies[0], Tally { accepted: 97, rejected: 3, effects, ..Tally::default() });
    assert_eq!(applied.reasons, [((0, Code::ConstraintViolation), 3)].into());
    assert_eq!(
        fixture.letters().await,
        [
            "1:33 rejected constraint_violation",
            "1:66 rejected constraint_violation",
            "1:99 rejected constraint_violation",
        ]
    );
    let letter = fixture
        .query("select text || ' | ' || stage || ' | ' || (reasons -> 0 ->> 'message') from tidegate.dead_letters limit 1")
        .await;
    assert!(
        letter[0].starts_with("33,Procurement | sink | Postgres refused the row: new row for relation"),
        "{letter:?}"
    );
    assert_eq!(fates(&fixture.sink, 1).await, [97, 3, 0, 0]);
    assert_eq!(fixture.rows("departments").await.len(), 97);
}

#[tokio::test]
async fn an_exception_of_a_trigger_and_a_key_too_long_for_its_index_set_rows_aside() {
    let manifest = "pipeline: p\ndatasets:\n  notes:\n    key: id\n    columns: {id: text, note: text}\n";
    let fixture = Fixture::new(manifest).await;
    fixture
        .execute(
            "create function no() returns trigger language plpgsql as \
             $$ begin if new.note = 'no' then raise exception 'no, %', new.id; end if; return new; end $$; \
             create trigger no before insert on notes for each row execute function no()",
        )
        .await;
    // Random, so that Postgres cannot compress it to fit.
    let long = format!("{},long", (0..250).map(|_| uuid::Uuid::new_v4().to_string()).collect::<String>());
    let lines = [(0, 1, 1, "a,yes"), (0, 1, 2, "b,no"), (0, 1, 3, long.as_str()), (0, 1, 4, "c,yes")];
    fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!(fixture.rows("notes").await, ["a,yes,1,1", "c,yes,1,4"]);
    assert_eq!(
        fixture.letters().await,
        ["1:2 rejected constraint_violation", "1:3 rejected constraint_violation",]
    );
}
