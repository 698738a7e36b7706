//! The usual AWS settings.

use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::config::{Builder, Config};
use std::time::Duration;
use updraft_metastore::Error;

/// How long one attempt at a request may take. DynamoDB answers within milliseconds; without a limit, a connection that died
/// silently would hold a function until its own end.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);

/// The settings of the environment and of `~/.aws`, as every AWS tool reads them: region, profile, credentials, and
/// `AWS_ENDPOINT_URL`. Nothing is sent for them; credentials are fetched at the first request.
///
/// # Errors
/// [`Error::Unusable`] when no region is set. The metadata service of EC2 is not asked for one, because elsewhere that takes
/// seconds to fail.
pub async fn settings() -> Result<SdkConfig, Error> {
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .region()
        .await;
    let Some(region) = region else {
        return Err(Error::Unusable(
            "no AWS region is set; hint: set `AWS_REGION`, or `region` in the profile that `AWS_PROFILE` names"
                .to_owned(),
        ));
    };
    // Pinned: a newer version of the SDK must not change retries or timeouts by itself.
    Ok(aws_config::defaults(BehaviorVersion::v2026_01_12()).region(region).load().await)
}

/// The client's settings: what the caller said, and a limit for attempts.
pub(crate) fn client_config(settings: &SdkConfig) -> Config {
    let ours = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_MAX).build();
    let timeouts = match settings.timeout_config() {
        Some(theirs) => theirs.to_builder().take_unset_from(ours.to_builder()).build(),
        None => ours,
    };
    Builder::from(settings).timeout_config(timeouts).build()
}
