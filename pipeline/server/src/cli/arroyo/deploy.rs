//! Deploys the job: brings what a cluster runs to what the manifest says.
//!
//! Arroyo cannot alter a pipeline. A changed job is a new pipeline, which reads the raw topics from their beginning,
//! and the ledger drops the lines that it sends again. Therefore an update may be interrupted anywhere: the next one
//! finds the existing pipelines by name, keeps the one that matches, and completes the rest.

use std::time::Duration;

use tidegate_core::manifest::Manifest;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::api::{Api, ArroyoJob, ArroyoPipeline, TOKEN};
use super::sql;
use super::udf::{self, Udf};
use crate::Failure;
use crate::cli::arroyo::ArroyoDeployArguments;
use crate::cli::output;

/// The pauses between looks at a job grow with the time waited, because a state changes either soon or after minutes.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A job that cannot read its topics runs for a moment before it fails.
const STEADY: Duration = Duration::from_secs(2);
/// How many times in a row the cluster may fail to answer during a wait.
const SILENCES_MAX: u32 = 20;

/// The job that must run.
struct Target {
    name: String,
    query: String,
    udfs: Vec<Udf>,
    parallelism: Option<u64>,
    api: Api,
    until: Instant,
}

/// The existing pipelines, and what must be done with them.
struct DeployPlan {
    /// The pipeline that matches the target, with its job, if there is one.
    same: Option<(ArroyoPipeline, ArroyoJob)>,
    /// Other pipelines of the name, with their jobs, which must be stopped and deleted.
    old: Vec<(ArroyoPipeline, ArroyoJob)>,
}

/// Runs `tidegate arroyo deploy`.
pub(super) async fn command(manifest: &Manifest, arguments: &ArroyoDeployArguments) -> Result<(), Failure> {
    let endpoint = sql::endpoint(manifest, arguments.endpoint.as_deref())?;
    let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
    let target = Target {
        api: Api::new(&arguments.api, token.as_deref())?,
        name: format!("tidegate-{}", manifest.pipeline),
        query: sql::job(manifest, endpoint),
        udfs: udf::of(manifest, &udf::origin(&arguments.origin)?, None, None)?,
        parallelism: arguments.parallelism,
        until: Instant::now() + arguments.timeout,
    };
    let plan = target.plan().await?;
    let steps = target.steps(&plan);
    if steps.is_empty() {
        return output::print(format!("{}: runs as the manifest says, nothing to do\n", target.name));
    }
    if arguments.dry_run {
        target.validate_query().await?;
        let steps: String = steps.iter().map(|step| format!("would {step}\n")).collect();
        return output::print(format!("{}: nothing was changed\n{steps}", target.name));
    }
    let id = target.carry_out(plan).await?;
    output::print(format!("{}: runs as the manifest says, as pipeline {id}\n", target.name))
}

impl Target {
    /// Compares all pipelines of the name with the target.
    async fn plan(&self) -> Result<DeployPlan, Failure> {
        let mut plan = DeployPlan { same: None, old: Vec::new() };
        for pipeline in self.api.pipelines(&self.name).await? {
            if !pipeline.query.starts_with(sql::MARK) {
                return Err(Failure::new(format!(
                    "the cluster has a pipeline {} that is called '{}' too, but is not Tidegate's; rename it there",
                    pipeline.id, self.name
                )));
            }
            let job = self.api.job(&pipeline.id).await?;
            if plan.same.is_none() && self.is_same(&pipeline) {
                plan.same = Some((pipeline, job));
            } else {
                plan.old.push((pipeline, job));
            }
        }
        Ok(plan)
    }

    fn is_same(&self, pipeline: &ArroyoPipeline) -> bool {
        let definitions = pipeline.udfs.iter().map(|udf| udf.definition.as_str());
        pipeline.query == self.query && definitions.eq(self.udfs.iter().map(|udf| udf.source.as_str()))
    }

    /// The plan in words, each of which can follow "would"; empty if there is nothing to do.
    fn steps(&self, plan: &DeployPlan) -> Vec<String> {
        let mut steps = Vec::new();
        if plan.same.is_none() {
            steps.push(format!("check {} functions and the SQL with Arroyo", self.udfs.len()));
        }
        for (pipeline, job) in plan.old.iter().filter(|(_, job)| !job.has_ended()) {
            steps.push(format!("stop pipeline {}, which is {}, with a checkpoint", pipeline.id, job.state));
        }
        match &plan.same {
            None => steps.push(format!(
                "create a pipeline with a parallelism of {}, which compiles the functions and starts",
                self.parallelism.unwrap_or(1)
            )),
            Some((pipeline, job)) => {
                if let Some(parallelism) = self.rescaling(pipeline) {
                    steps.push(format!("give pipeline {} a parallelism of {parallelism}", pipeline.id));
                }
                if job.has_ended() || !job.running_desired {
                    steps.push(format!("start pipeline {}, which is {}", pipeline.id, job.state));
                } else if job.state != "Running" {
                    steps.push(format!("wait for pipeline {}, which is {}", pipeline.id, job.state));
                }
            }
        }
        steps.extend(plan.old.iter().map(|(pipeline, _)| format!("delete pipeline {}", pipeline.id)));
        steps
    }

    fn rescaling(&self, pipeline: &ArroyoPipeline) -> Option<u64> {
        self.parallelism.filter(|parallelism| !pipeline.has_parallelism(*parallelism))
    }

    /// Does what [`Target::steps`] describes, and returns the id of the pipeline that then runs.
    async fn carry_out(&self, plan: DeployPlan) -> Result<String, Failure> {
        if plan.same.is_none() {
            self.validate().await?;
        }
        for (pipeline, job) in &plan.old {
            self.stop(pipeline, job).await?;
        }
        let id = match plan.same {
            Some((pipeline, job)) => {
                self.resume(&pipeline, job).await?;
                pipeline.id
            }
            None => match self.create().await {
                Ok(id) => id,
                Err(failure) => return Err(self.restart_old(&plan.old, failure).await),
            },
        };
        self.wait_until_it_runs(&id).await?;
        for (pipeline, _) in &plan.old {
            self.api.delete(&pipeline.id).await?;
            info!(pipeline = pipeline.id, "deleted what ran before");
        }
        Ok(id)
    }

    async fn validate(&self) -> Result<(), Failure> {
        self.validate_query().await?;
        for (index, udf) in self.udfs.iter().enumerate() {
            let of = self.udfs.len();
            info!("checking {} ({} of {of}); the first one may take minutes", udf.name, index + 1);
            let errors = self.api.validate_udf(udf, self.until).await?;
            fail_if_any(&format!("Arroyo cannot compile the function {}", udf.name), &errors)?;
        }
        Ok(())
    }

    async fn validate_query(&self) -> Result<(), Failure> {
        info!("checking the SQL");
        let errors = self.api.validate_query(&self.query, &self.udfs).await?;
        fail_if_any("Arroyo cannot plan the SQL that 'tidegate arroyo sql' prints", &errors)
    }

    async fn stop(&self, pipeline: &ArroyoPipeline, job: &ArroyoJob) -> Result<(), Failure> {
        if job.has_ended() {
            return Ok(());
        }
        info!(pipeline = pipeline.id, state = job.state, "stopping what ran before, with a checkpoint");
        self.api.stop(&pipeline.id).await?;
        let stopped = self.wait(&pipeline.id, "stop", |job, _| job.has_ended()).await?;
        info!(pipeline = pipeline.id, state = stopped.state, "it has stopped");
        Ok(())
    }

    async fn create(&self) -> Result<String, Failure> {
        info!("creating the pipeline; Arroyo compiles {} functions first", self.udfs.len());
        let parallelism = self.parallelism.unwrap_or(1);
        let created = self.api.create(&self.name, &self.query, &self.udfs, parallelism, self.until).await?;
        info!(pipeline = created.id, "created the pipeline");
        Ok(created.id)
    }

    /// Restarts the pipelines that were stopped for a new one that could not be created.
    async fn restart_old(&self, old: &[(ArroyoPipeline, ArroyoJob)], failure: Failure) -> Failure {
        let mut message = failure.message;
        for (pipeline, _) in old.iter().filter(|(_, job)| job.running_desired && !job.has_ended()) {
            message.push_str(&match self.api.start(&pipeline.id).await {
                Ok(()) => format!("; pipeline {}, which ran before, was started again", pipeline.id),
                Err(failure) => {
                    format!("; pipeline {}, which ran before, is stopped: {}", pipeline.id, failure.message)
                }
            });
        }
        Failure { message, ..failure }
    }

    /// Makes a pipeline that matches the target run, with the target's parallelism.
    async fn resume(&self, pipeline: &ArroyoPipeline, job: ArroyoJob) -> Result<(), Failure> {
        if let Some(parallelism) = self.rescaling(pipeline) {
            info!(pipeline = pipeline.id, parallelism, "changing the parallelism");
            self.api.rescale(&pipeline.id, parallelism).await?;
        }
        let job = match job.running_desired || job.has_ended() {
            true => job,
            // The job is stopping, and only a stopped job can be started.
            false => self.wait(&pipeline.id, "stop", |job, _| job.has_ended()).await?,
        };
        if job.has_ended() {
            info!(pipeline = pipeline.id, state = job.state, "starting it");
            match job.running_desired {
                false => self.api.start(&pipeline.id).await?,
                true => self.api.restart(&pipeline.id).await?,
            }
            // The job keeps its state until Arroyo has acted on the request.
            self.wait(&pipeline.id, "start", |now, waited| now.state != job.state || waited > STEADY).await?;
        }
        Ok(())
    }

    async fn wait_until_it_runs(&self, id: &str) -> Result<(), Failure> {
        let mut since = None;
        let running = |job: &ArroyoJob, waited: Duration| {
            since = (job.state == "Running").then(|| since.unwrap_or(waited));
            job.has_ended() || since.is_some_and(|since| waited - since >= STEADY)
        };
        let job = self.wait(id, "run", running).await?;
        if !job.has_ended() {
            return Ok(());
        }
        let mut message = format!("the job of pipeline {id} is {}", job.state);
        if let Some(reason) = job.reason() {
            message.push_str(&format!(": {}", output::shown(reason)));
        }
        for error in self.api.job_errors(id, &job.id).await.unwrap_or_default() {
            message.push_str(&format!("\n  {}", output::shown(&error)));
        }
        message.push_str("\nif what is wrong is outside of it, deploying again starts it again");
        Err(Failure::new(message))
    }

    /// Waits until `is_done` holds for a job; it also gets the time waited. If the cluster does not answer, the query
    /// is retried.
    async fn wait(
        &self,
        id: &str,
        what: &str,
        mut is_done: impl FnMut(&ArroyoJob, Duration) -> bool,
    ) -> Result<ArroyoJob, Failure> {
        let begun = Instant::now();
        let (mut state, mut silences) = (String::new(), 0);
        loop {
            match self.api.job(id).await {
                Ok(job) => {
                    silences = 0;
                    if job.state != state {
                        info!(pipeline = id, "the job is {}", output::shown(&job.state));
                        state.clone_from(&job.state);
                    }
                    if is_done(&job, begun.elapsed()) {
                        return Ok(job);
                    }
                }
                Err(failure) if silences >= SILENCES_MAX => return Err(failure),
                Err(failure) => {
                    silences += 1;
                    warn!("{}; asking again", failure.message);
                }
            }
            if Instant::now() >= self.until {
                return Err(Failure::new(format!(
                    "the job of pipeline {id} did not {what} within --timeout, it is {state}; deploying again goes on \
                     from here"
                )));
            }
            sleep((begun.elapsed() / 10).clamp(PAUSE_MIN, PAUSE_MAX)).await;
        }
    }
}

/// A failure that lists the errors, if there are any.
fn fail_if_any(what: &str, errors: &[String]) -> Result<(), Failure> {
    if errors.is_empty() {
        return Ok(());
    }
    let errors: String =
        errors.iter().map(|error| format!("\n{}", output::shown(error.trim_end()))).collect();
    Err(Failure::new(format!("{what}; nothing was changed:{errors}")))
}
