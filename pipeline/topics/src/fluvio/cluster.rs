//! The cluster: its controller, its topics, and the SPUs that serve the partitions.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fluvio::FluvioClusterConfig;
use fluvio::config::{TlsPaths, TlsPolicy};
use fluvio::dataplane::link::ErrorCode;
use fluvio::dataplane::record::ReplicaKey;
use fluvio::dataplane::{Decoder, Encoder};
use fluvio::metadata::AdminSpec;
use fluvio::metadata::objects::{
    CommonCreateRequest, CreateRequest, ListFilter, ListRequest, ListResponse, Metadata,
    ObjectApiCreateRequest, ObjectApiListRequest,
};
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::topic::{
    CleanupPolicy, CompressionAlgorithm, ReplicaSpec, SegmentBasedPolicy, TopicSpec,
};
use fluvio_sc_schema::TryEncodableFrom;
use fluvio_socket::ClientConfig;
use tidegate_core::manifest::{Compression, FluvioOptions};

use super::connector::Connector;
use super::link::{Link, SharedLink};
use crate::place::place;
use crate::{ErrorKind, TopicError};

/// How long the controller may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A cluster, as the manifest names it. It connects at the first request.
pub(super) struct Cluster {
    config: FluvioClusterConfig,
    options: FluvioOptions,
    controller: SharedLink,
}

impl Cluster {
    /// Reads the client's configuration, and the certificates if there are any. Does not connect.
    pub(super) fn open(options: &FluvioOptions, base: &Path) -> Result<Self, TopicError> {
        let config = config(options, base)?;
        let cluster = Self { config, options: options.clone(), controller: SharedLink::default() };
        cluster.client_config()?;
        Ok(cluster)
    }

    /// The names of all topics except the system's.
    pub(super) async fn names(&self) -> Result<Vec<String>, TopicError> {
        let topics = self.list::<TopicSpec>(Vec::new()).await?;
        let mut names: Vec<String> = topics.into_iter().map(|topic| topic.name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The spec of a topic, if the topic exists.
    pub(super) async fn topic(&self, name: &str) -> Result<Option<TopicSpec>, TopicError> {
        let filter = ListFilter { name: name.to_owned() };
        let topics = self.list::<TopicSpec>(vec![filter]).await?;
        Ok(topics.into_iter().find(|topic| topic.name == name).map(|topic| topic.spec))
    }

    /// Creates a topic unless it exists, and checks that the pipeline can use it.
    pub(super) async fn ensure(&self, name: &str) -> Result<TopicSpec, TopicError> {
        if let Some(topic) = self.topic(name).await? {
            return self.check(name, topic);
        }
        let mut spec = TopicSpec::new_computed(self.options.partitions, self.options.replication, None);
        let time_in_seconds = u32::try_from(self.options.retention.as_secs()).unwrap_or(u32::MAX);
        spec.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy { time_in_seconds }));
        spec.set_compression_type(algorithm(self.options.compression));
        let common = CommonCreateRequest {
            name: name.to_owned(),
            dry_run: false,
            timeout: Some(ANSWER_LIMIT.as_millis() as u32),
        };
        let what = || format!("creating the topic '{name}' failed");
        let link = self.controller().await?;
        let version = link.socket.lookup_version::<ObjectApiCreateRequest>();
        let request = CreateRequest::new(common, spec);
        let request = ObjectApiCreateRequest::try_encode_from(request, version.unwrap_or_default())
            .map_err(|error| self.failed(&what(), error))?;
        let status = self.controller.answered(link.call(request, ANSWER_LIMIT).await).await;
        let status = status.map_err(|failure| self.failed(&what(), failure))?;
        match status.error_code {
            // Another process may have created it first.
            ErrorCode::None | ErrorCode::TopicAlreadyExists => {}
            code => return Err(self.failed(&what(), status.error_message.unwrap_or(code.to_string()))),
        }
        match self.topic(name).await? {
            Some(topic) => self.check(name, topic),
            None => Err(self.failed(&what(), "it is not there afterwards")),
        }
    }

    /// Refuses a topic that does not match the manifest.
    fn check(&self, name: &str, topic: TopicSpec) -> Result<TopicSpec, TopicError> {
        let (found, wanted) = (topic.partitions(), self.options.partitions);
        let fault = if matches!(topic.replicas(), ReplicaSpec::Mirror(_)) {
            "is a mirror; delete it there, or name the pipeline otherwise".to_owned()
        } else if topic.get_deduplication().is_some() {
            "drops records that it takes for duplicates; delete it there, or name the pipeline otherwise"
                .to_owned()
        } else if found != wanted {
            format!(
                "has {found} partitions, and the manifest says {wanted}; write 'partitions: {found}', or \
                 delete the pipeline's topics there, and they are filled anew from the files"
            )
        } else {
            return Ok(topic);
        };
        Err(TopicError::new(ErrorKind::Unfit, format!("fluvio at {self}: the topic '{name}' {fault}")))
    }

    /// The compression of a topic's records: the topic's own if it demands one, otherwise the manifest's.
    pub(super) fn compression(&self, topic: &TopicSpec) -> fluvio::Compression {
        let algorithm = match topic.get_compression_type() {
            CompressionAlgorithm::Any => algorithm(self.options.compression),
            demanded => demanded.clone(),
        };
        // Both have the same words, and `any` is none.
        algorithm.to_string().parse().unwrap_or_default()
    }

    /// Connects to the SPU that leads a partition.
    pub(super) async fn connect(&self, topic: &str, partition: u32) -> Result<Arc<Link>, TopicError> {
        let what = place(topic, partition);
        let key = ReplicaKey::new(topic, partition).to_string();
        let partitions = self.list::<PartitionSpec>(Vec::new()).await?;
        let Some(found) = partitions.into_iter().find(|found| found.name == key) else {
            return Err(self.failed(
                &what,
                "no SPU serves it; if the topic was deleted, start anew, and it is created again",
            ));
        };
        let spus = self.list::<SpuSpec>(Vec::new()).await?;
        let leader = found.spec.leader;
        let Some(spu) = spus.into_iter().find(|spu| spu.spec.id == leader) else {
            return Err(self.failed(&what, format!("the SPU {leader}, which leads it, is not registered")));
        };
        let local = spu.spec.public_endpoint_local.filter(|_| self.config.use_spu_local_address);
        let address = match local {
            Some(local) => format!("{}:{}", local.host, local.port),
            None => spu.spec.public_endpoint.addr(),
        };
        let mut config = self.client_config()?.with_prefix_sni_domain(&spu.name);
        config.set_addr(address);
        Link::open(config).await.map_err(|failure| self.failed(&what, failure))
    }

    /// A retryable error: what failed, why, and what to do.
    pub(super) fn failed(&self, what: &str, why: impl fmt::Display) -> TopicError {
        let message = format!(
            "fluvio at {self}: {what}: {why}; see that the cluster runs and that 'topics' in the manifest \
             names it"
        );
        TopicError::new(ErrorKind::Io, message)
    }

    async fn list<S>(&self, filters: Vec<ListFilter>) -> Result<Vec<Metadata<S>>, TopicError>
    where
        S: AdminSpec + Send + Sync,
        S::Status: Encoder + Decoder + fmt::Debug,
    {
        let what = format!("listing its {}s failed", S::LABEL.to_lowercase());
        let link = self.controller().await?;
        let version = link.socket.lookup_version::<ObjectApiListRequest>();
        let request = ListRequest::<S>::new(filters, false);
        let request = ObjectApiListRequest::try_encode_from(request, version.unwrap_or_default())
            .map_err(|error| self.failed(&what, error))?;
        let response = self.controller.answered(link.call(request, ANSWER_LIMIT).await).await;
        let response = response.map_err(|failure| self.failed(&what, failure))?;
        let list: Option<ListResponse<S>> = response.downcast().map_err(|error| self.failed(&what, error))?;
        list.map(ListResponse::inner).ok_or_else(|| self.failed(&what, "the answer is to another question"))
    }

    async fn controller(&self) -> Result<Arc<Link>, TopicError> {
        let open = async {
            let link = Link::open(self.client_config()?).await;
            link.map_err(|failure| self.failed("connecting failed", failure))
        };
        self.controller.get(open).await
    }

    /// Built anew for each connection, because certificates may have been renewed.
    fn client_config(&self) -> Result<ClientConfig, TopicError> {
        let connector = Connector::new(&self.config.tls).map_err(|error| {
            let message =
                format!("fluvio at {self}: connections cannot be encrypted: {error}; correct 'tls'");
            TopicError::new(ErrorKind::Unfit, message)
        })?;
        let local = self.config.use_spu_local_address;
        Ok(ClientConfig::new(&self.config.endpoint, Box::new(connector), local))
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.config.endpoint)
    }
}

fn config(options: &FluvioOptions, base: &Path) -> Result<FluvioClusterConfig, TopicError> {
    let unfit = |message| TopicError::new(ErrorKind::Unfit, message);
    let Some(endpoint) = &options.endpoint else {
        let loaded = match &options.profile {
            Some(profile) => FluvioClusterConfig::load_with_profile(profile).and_then(|found| {
                found.ok_or_else(|| fluvio::FluvioError::Other(format!("there is no profile '{profile}'")))
            }),
            None => FluvioClusterConfig::load(),
        };
        return loaded.map_err(|error| {
            unfit(format!(
                "the fluvio client's configuration names no cluster: {error}; run 'fluvio profile list', or \
                 write 'endpoint: host:port' in the manifest"
            ))
        });
    };
    let config = FluvioClusterConfig::new(endpoint);
    let Some(tls) = &options.tls else { return Ok(config) };
    let paths = TlsPaths {
        domain: tls.domain.clone(),
        key: base.join(&tls.key),
        cert: base.join(&tls.cert),
        ca_cert: base.join(&tls.ca),
    };
    Ok(config.with_tls(TlsPolicy::from(paths)))
}

fn algorithm(compression: Compression) -> CompressionAlgorithm {
    match compression {
        // Other writers to the topic may use any compression.
        Compression::None => CompressionAlgorithm::Any,
        Compression::Gzip => CompressionAlgorithm::Gzip,
        Compression::Snappy => CompressionAlgorithm::Snappy,
        Compression::Lz4 => CompressionAlgorithm::Lz4,
        Compression::Zstd => CompressionAlgorithm::Zstd,
    }
}
