//! The metastore in one DynamoDB table.
//!
//! The table is the one of `infra/template.yaml`: partition key `pk`, sort key `sk`, and a global index `due` by `shard` and
//! `wake_at` that projects keys only. Every port call is the request named in its comment here; only reads larger than a page
//! or a batch take more. Nothing else is ever asked of DynamoDB: no scans, no transactions, no table description.
//!
//! A write that timed out may have landed, and the SDK repeats it: its condition may then be refused by its own first
//! attempt. The refusal carries the image, by which callers tell.

mod attributes;
mod consumed;
mod expression;
mod fault;
mod settings;

pub use consumed::Consumed;
pub use settings::settings;

use attributes::{attribute_value, item_of, key_of, stored, text};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use consumed::Meter;
use expression::Expression;
use fault::Place;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use tokio::task::JoinSet;
use updraft_metastore::expiry::{EXPIRES, Expiry};
use updraft_metastore::item::{Change, Condition, Item, Key, SHARD, Update, WAKE_AT, size};
use updraft_metastore::keys::{SHARDS, shard_name};
use updraft_metastore::{Due, Error, Items, Outcome, Range};

/// The partition key's attribute.
const PK: &str = "pk";
/// The sort key's attribute.
const SK: &str = "sk";
/// The time index.
const DUE_INDEX: &str = "due";

/// Keys in one BatchGetItem; DynamoDB takes no more.
const BATCH_KEYS_MAX: usize = 100;
/// How often a batch read may come back without a single item before it counts as unavailable.
const FRUITLESS_ROUNDS_MAX: u32 = 6;
/// The wait after the first fruitless round; it doubles.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);

/// Attributes as the SDK has them, keys included.
type Raw = HashMap<String, AttributeValue>;

/// Items in one DynamoDB table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    client: Client,
    place: Place,
    meter: Meter,
    expiry: Option<Expiry>,
}

impl DynamoDb {
    /// The table of this name, by these settings. Nothing is sent yet: a table that is not there shows at the first use.
    ///
    /// An attempt at a request may take ten seconds unless the settings say otherwise.
    pub fn new(settings: &SdkConfig, table: impl Into<String>) -> Self {
        let client = Client::from_conf(settings::client_config(settings));
        Self { client, place: Place::new(settings, table.into()), meter: Meter::default(), expiry: None }
    }

    /// The table of this name, by the usual AWS settings: see [`settings`].
    ///
    /// # Errors
    /// [`Error::Unusable`] when no region is set. Credentials are looked up at the first use.
    pub async fn open(table: &str) -> Result<Self, Error> {
        Ok(Self::new(&settings().await?, table))
    }

    /// The same, with history that expires. DynamoDB removes it, by the attribute that the table names for it.
    #[must_use]
    pub fn expiring(self, expiry: Option<Expiry>) -> Self {
        Self { expiry, ..self }
    }

    /// An item as it is put, with when it expires.
    fn stored(&self, key: &Key, item: &Item) -> Raw {
        let mut raw = stored(key, item);
        let expires = self.expiry.and_then(|expiry| expiry.of_put(key, Timestamp::now()));
        raw.extend(expires.map(|at| (EXPIRES.to_owned(), attribute_value(&at))));
        raw
    }

    /// The table's name.
    pub fn table(&self) -> &str {
        &self.place.table
    }

    /// What the requests of this process have used so far, clones included. Asking for it costs nothing.
    pub fn consumed(&self) -> Consumed {
        self.meter.consumed()
    }

    /// What a refused write was refused by.
    fn refused(&self, key: &Key, image: Option<Raw>) -> Result<Outcome<Item>, Error> {
        let image = image.filter(|raw| !raw.is_empty()).map(|raw| item_of(key, raw)).transpose()?;
        self.meter.refused(image.as_ref().map_or(0, |item| size(key, item)));
        Ok(Outcome::Refused(image))
    }

    fn fault<E>(&self, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        fault::fault(error, &self.place)
    }

    /// Follows the pages of a query until there are `limit` entries or no more.
    async fn pages<T>(
        &self,
        query: QueryFluentBuilder,
        mut start: Option<Raw>,
        limit: usize,
        read: impl Fn(&Raw) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut found = Vec::new();
        loop {
            let wanted = i32::try_from(limit - found.len()).unwrap_or(i32::MAX);
            let page = query.clone().limit(wanted).set_exclusive_start_key(start.take());
            let page = page.return_consumed_capacity(ReturnConsumedCapacity::Total);
            let page = page.send().await.map_err(|e| self.fault(&e))?;
            self.meter.read(page.consumed_capacity.as_ref());
            for raw in page.items.unwrap_or_default() {
                found.push(read(&raw)?);
            }
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() && found.len() < limit => start = Some(key),
                _ => return Ok(found),
            }
        }
    }

    /// One shard of the time index.
    async fn due_in(&self, shard: u8, until: i64, limit: usize) -> Result<Vec<Due>, Error> {
        let mut expression = Expression::default();
        let (hash, at) = (expression.name(SHARD), expression.name(WAKE_AT));
        let (hash_is, at_most) = (expression.text(shard_name(shard)), expression.number(until));
        let query = self
            .client
            .query()
            .table_name(self.table())
            .index_name(DUE_INDEX)
            .key_condition_expression(format!("{hash}={hash_is} AND {at}<={at_most}"))
            .set_expression_attribute_names(expression.names())
            .set_expression_attribute_values(expression.values());
        self.pages(query, None, limit, |raw| Ok(Due { wake_at: attributes::place(raw, WAKE_AT), key: key_of(raw)? }))
            .await
    }

    /// Reads at most [`BATCH_KEYS_MAX`] distinct keys. DynamoDB may answer a part and leave the rest unprocessed.
    async fn batch(&self, keys: &[&Key], found: &mut BTreeMap<Key, Item>) -> Result<(), Error> {
        let mut left: Vec<Raw> = keys.iter().map(|key| attributes::key_attributes(key)).collect();
        let mut fruitless = 0;
        while !left.is_empty() {
            let wanted = KeysAndAttributes::builder().set_keys(Some(left)).consistent_read(true).build();
            let wanted = wanted.map_err(|e| Error::Unusable(format!("could not build a batch read: {e}")))?;
            let request = self.client.batch_get_item().request_items(self.table(), wanted);
            let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
            let mut answer = request.send().await.map_err(|e| self.fault(&e))?;
            answer.consumed_capacity().iter().for_each(|consumed| self.meter.read(Some(consumed)));
            let page =
                answer.responses.take().and_then(|mut by_table| by_table.remove(self.table())).unwrap_or_default();
            fruitless = if page.is_empty() { fruitless + 1 } else { 0 };
            for raw in page {
                let key = key_of(&raw)?;
                let item = item_of(&key, raw)?;
                found.insert(key, item);
            }
            let unprocessed = answer.unprocessed_keys.and_then(|mut by_table| by_table.remove(self.table()));
            left = unprocessed.map(|rest| rest.keys).unwrap_or_default();
            if left.is_empty() {
                break;
            }
            if fruitless >= FRUITLESS_ROUNDS_MAX {
                return Err(Error::Unavailable(format!(
                    "table `{}` left {} keys of a batch read unprocessed, {fruitless} times in a row",
                    self.table(),
                    left.len()
                )));
            }
            // A part that came back means there is capacity; the rest is asked for at once.
            if fruitless > 0 {
                tokio::time::sleep(BACKOFF_FIRST * 2u32.pow(fruitless - 1)).await;
            }
        }
        Ok(())
    }
}

impl Items for DynamoDb {
    /// One UpdateItem.
    async fn update(&self, update: &Update) -> Result<Outcome<Item>, Error> {
        let mut expression = Expression::default();
        let condition = expression.existing(&update.conditions);
        let expires = self.expiry.and_then(|expiry| expiry.of_update(update));
        let changes: Vec<Change> = update.changes.iter().cloned().chain(expires).collect();
        let changes = expression.changes(&changes);
        expression::check_size(&update.key, &condition, changes.as_deref().unwrap_or_default())?;
        let answer = self
            .client
            .update_item()
            .table_name(self.table())
            .set_key(Some(attributes::key_attributes(&update.key)))
            .condition_expression(condition)
            .set_update_expression(changes)
            .set_expression_attribute_names(expression.names())
            .set_expression_attribute_values(expression.values())
            .return_values(ReturnValue::AllNew)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                self.meter.wrote(answer.consumed_capacity.as_ref());
                Ok(Outcome::Updated(item_of(&update.key, answer.attributes.unwrap_or_default())?))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refusal)) => {
                    self.refused(&update.key, refusal.item.clone())
                }
                _ => Err(self.fault(&error)),
            },
        }
    }

    /// One PutItem.
    async fn put_new(&self, key: &Key, item: &Item) -> Result<Outcome<Item>, Error> {
        let answer = self
            .client
            .put_item()
            .table_name(self.table())
            .set_item(Some(self.stored(key, item)))
            .condition_expression("attribute_not_exists(#0)")
            .expression_attribute_names("#0", PK)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                self.meter.wrote(answer.consumed_capacity.as_ref());
                Ok(Outcome::Updated(item.clone()))
            }
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refusal)) => self.refused(key, refusal.item.clone()),
                _ => Err(self.fault(&error)),
            },
        }
    }

    /// One PutItem.
    async fn put(&self, key: &Key, item: &Item) -> Result<(), Error> {
        let request = self.client.put_item().table_name(self.table()).set_item(Some(self.stored(key, item)));
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = request.send().await.map_err(|e| self.fault(&e))?;
        self.meter.wrote(answer.consumed_capacity.as_ref());
        Ok(())
    }

    /// One DeleteItem.
    async fn delete(&self, key: &Key, conditions: &[Condition]) -> Result<Outcome<()>, Error> {
        let mut expression = Expression::default();
        let condition = expression.absent_or(conditions);
        expression::check_size(key, condition.as_deref().unwrap_or_default(), "")?;
        let answer = self
            .client
            .delete_item()
            .table_name(self.table())
            .set_key(Some(attributes::key_attributes(key)))
            .set_condition_expression(condition)
            .set_expression_attribute_names(expression.names())
            .set_expression_attribute_values(expression.values())
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                self.meter.wrote(answer.consumed_capacity.as_ref());
                Ok(Outcome::Updated(()))
            }
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(_)) => {
                    self.meter.refused(0);
                    Ok(Outcome::Refused(Some(())))
                }
                _ => Err(self.fault(&error)),
            },
        }
    }

    /// One GetItem.
    async fn get(&self, key: &Key) -> Result<Option<Item>, Error> {
        let request = self.client.get_item().table_name(self.table()).consistent_read(true);
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = request.set_key(Some(attributes::key_attributes(key))).send().await.map_err(|e| self.fault(&e))?;
        self.meter.read(answer.consumed_capacity.as_ref());
        answer.item.filter(|raw| !raw.is_empty()).map(|raw| item_of(key, raw)).transpose()
    }

    /// One BatchGetItem for every 100 keys, one after the other, and more where DynamoDB leaves keys unprocessed. Items come in
    /// the order of the keys.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<(Key, Item)>, Error> {
        // DynamoDB refuses a batch that names a key twice.
        let distinct: Vec<&Key> = keys.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let mut found = BTreeMap::new();
        for chunk in distinct.chunks(BATCH_KEYS_MAX) {
            self.batch(chunk, &mut found).await?;
        }
        Ok(keys.iter().filter_map(|key| found.get(key).map(|item| (key.clone(), item.clone()))).collect())
    }

    /// One Query for every megabyte that lies in the range, up to the limit.
    async fn query(&self, range: &Range) -> Result<Vec<(String, Item)>, Error> {
        let Some(start) = start_of(range) else { return Ok(Vec::new()) };
        let mut expression = Expression::default();
        let (pk, pk_is) = (expression.name(PK), expression.text(&range.pk));
        // An empty value is refused in a key condition.
        let condition = if range.prefix.is_empty() {
            format!("{pk}={pk_is}")
        } else {
            let (sk, begin) = (expression.name(SK), expression.text(&range.prefix));
            format!("{pk}={pk_is} AND begins_with({sk},{begin})")
        };
        let query = self
            .client
            .query()
            .table_name(self.table())
            .consistent_read(true)
            .key_condition_expression(condition)
            .set_expression_attribute_names(expression.names())
            .set_expression_attribute_values(expression.values())
            .scan_index_forward(!range.descending);
        let read = |raw: &Raw| {
            let key = key_of(raw)?;
            let item = item_of(&key, raw.clone())?;
            Ok((key.sk, item))
        };
        self.pages(query, start, range.limit.max(1), read).await
    }

    /// One Query for each shard, all at once, and more for each full page of a shard.
    async fn due(&self, until: i64, limit: usize) -> Result<Vec<Due>, Error> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut shards = JoinSet::new();
        for shard in 0..SHARDS {
            let this = self.clone();
            shards.spawn(async move { this.due_in(shard, until, limit).await });
        }
        let mut found = Vec::new();
        while let Some(shard) = shards.join_next().await {
            found
                .extend(shard.map_err(|e| Error::Unavailable(format!("a query of the time index ended early: {e}")))??);
        }
        found.sort();
        found.truncate(limit);
        Ok(found)
    }
}

/// Where a query begins: none when nothing can follow, `Some(None)` at the range's own beginning. DynamoDB refuses a start
/// outside of the key condition, so one before the range is left out, and one behind it needs no request.
#[expect(clippy::option_option, reason = "no request, and a request without a start, are two things")]
fn start_of(range: &Range) -> Option<Option<Raw>> {
    let Some(after) = &range.after else { return Some(None) };
    if after.is_empty() {
        // No sort key is empty: all of them follow it, none precedes it.
        return (!range.descending).then_some(None);
    }
    if after.starts_with(&range.prefix) {
        return Some(Some(Raw::from([(PK.to_owned(), text(&range.pk)), (SK.to_owned(), text(after))])));
    }
    ((*after < range.prefix) != range.descending).then_some(None)
}

#[cfg(test)]
mod tests;
