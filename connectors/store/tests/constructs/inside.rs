//! Every construct of the incremental class, through one history of changes.

use super::{PARENTS, World, assert_incremental, borrowed, cases};

/// Statements of one session after the other, with odd settings of the session among them.
const HISTORY: &str = include_str!("history.sql");

#[tokio::test]
async fn every_construct_of_the_class_is_kept_by_changes_and_exact_behind_every_one() {
    let cases = cases(include_str!("inside.sql"));
    let views = borrowed(&cases);
    let world = World::new().await;
    world.fixture.execute(PARENTS).await;
    assert_incremental(&world.explained(&views).await);
    world.apply(&views).await;
    world.assert_columns(&views).await;
    world.assert_exact(&views, "nothing").await;
    let writer = world.session().await;
    for step in HISTORY.split(";;\n").map(str::trim).filter(|step| !step.is_empty()) {
        writer.batch_execute(step).await.unwrap_or_else(|error| panic!("{step}: {error:?}"));
        world.assert_exact(&views, step).await;
    }
}

#[tokio::test]
async fn folding_and_filling_anew_leave_every_construct_exact() {
    let cases = cases(include_str!("inside.sql"));
    let views = borrowed(&cases);
    let world = World::new().await;
    world.fixture.execute(PARENTS).await;
    let mut steps = HISTORY.split(";;\n").map(str::trim).filter(|step| !step.is_empty());
    let writer = world.session().await;
    // Filled from rows that are there, then changed, then folded, then changed once more.
    for step in steps.by_ref().take(6) {
        writer.batch_execute(step).await.unwrap();
    }
    world.apply(&views).await;
    world.assert_exact(&views, "filling").await;
    for step in steps.by_ref().take(8) {
        writer.batch_execute(step).await.unwrap();
    }
    world.fold().await;
    world.assert_exact(&views, "folding").await;
    for step in steps {
        writer.batch_execute(step).await.unwrap_or_else(|error| panic!("{step}: {error:?}"));
    }
    world.assert_exact(&views, "what followed the folding").await;
    world.fold().await;
    world.assert_exact(&views, "folding behind a truncate").await;
}
