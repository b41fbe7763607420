//! A process: the real stages over the real landing folder, in a runtime of its own, whose clock jumps to
//! where the next thing is due. Not to run it is to freeze it; to drop it is to kill it.

use std::sync::Arc;

use tidegate_core::contract::Error;
use tidegate_core::manifest::Manifest;
use tidegate_engine::{Pipeline, Until, already_sent};
use tidegate_files::Landing;
use tidegate_topics as topics;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::files::{AREAS, JOBS, PEOPLE};
use crate::model::Flaw;
use crate::outside::{Database, Topics};
use crate::world::{Interrupt, Link, World};

/// What outlives a process on its machine: its identity, and what stands on its topics.
#[derive(Clone)]
pub(crate) struct DataDir {
    pub(crate) owner: u64,
    pub(crate) log: topics::Memory,
}

pub(crate) struct Process {
    pub(crate) number: u64,
    pub(crate) dir: DataDir,
    pub(crate) database: Database,
    link: Arc<Link>,
    runtime: Runtime,
    main: JoinHandle<Result<(), Error>>,
}

/// Why a process gave the hand back.
#[derive(Debug)]
pub(crate) enum Pause {
    Crashed,
    Frozen,
    /// It ended by itself; `is_idle` if it found that nothing is left to do.
    Ended {
        result: Result<(), Error>,
        is_idle: bool,
    },
}

impl Process {
    /// A process by a manifest on a data directory, which reads so much of a file at once, and runs until then. Nothing of it
    /// runs yet.
    pub(crate) fn new(
        world: Arc<World>,
        manifest: Arc<Manifest>,
        number: u64,
        dir: DataDir,
        how: (usize, Until),
    ) -> Self {
        let link = Arc::new(Link::new(world.clone(), number, how.1));
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime needs no more than memory");
        // Each process counts the rows of a table by a column of its own, so that one that is stale spoils the view.
        let nth = number as usize;
        let view = Some([(PEOPLE, 2 + nth / 3 % 3), (AREAS, 1), (JOBS, 1)][nth % 3]);
        let memory = world.database.open(manifest.clone(), dir.owner, view, world.flaw);
        let database = Database { link: link.clone(), memory };
        let main = runtime.spawn(run(manifest, database.clone(), dir.log.clone(), how));
        Self { number, dir, database, link, runtime, main }
    }

    /// Lets it run until it ends or something happens to it.
    pub(crate) fn go_on(&mut self) -> Pause {
        let Self { runtime, main, link, .. } = self;
        let ended = runtime.block_on(async {
            tokio::select! {
                biased;
                interrupt = link.interrupted() => Err(interrupt),
                ended = main => Ok(ended),
            }
        });
        match ended {
            Err(Interrupt::Crashed) => Pause::Crashed,
            Err(Interrupt::Frozen) => Pause::Frozen,
            Ok(Ok(result)) => Pause::Ended { is_idle: result.is_ok() && link.was_idle(), result },
            Ok(Err(panic)) => {
                let error = Error::halt(format!("the process panicked: {panic}"));
                Pause::Ended { result: Err(error), is_idle: false }
            }
        }
    }
}

/// As `tidegate run` wires it.
async fn run(
    manifest: Arc<Manifest>,
    database: Database,
    log: topics::Memory,
    (block_bytes, until): (usize, Until),
) -> Result<(), Error> {
    let link = database.link.clone();
    let world = &link.world;
    database.begin().await?;
    let topics = Arc::new(Topics::new(link.clone(), log));
    let (sink, counts) = (Arc::new(database.clone()), Arc::default());
    let pipeline = Pipeline::open(manifest.clone(), topics.clone(), sink, vec![0], counts).await?;
    if let Some(from) = world.sends_again_from() {
        topics.send_again(from).await;
        // Who was taken over meanwhile has sent it to nobody, perhaps.
        world.state().must_send_again &= !database.memory.may_commit();
    }
    let sent = already_sent(&manifest, &*topics, &database).await?;
    let landing = Landing::new(world.landing.clone(), manifest, database, sent);
    let around = world.clone();
    let landing = landing.with_writers(move |path| {
        let name = path.file_name()?.to_str()?;
        let is_asked = around.flaw != Some(Flaw::WritersUnseen);
        (is_asked && around.is_being_written(name)).then(|| "somebody".to_owned())
    });
    pipeline.run(&mut landing.with_block_bytes(block_bytes), until, &link.stop).await
}
