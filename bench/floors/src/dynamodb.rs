//! Amazon's library.

use anyhow::{Context, Result};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_smithy_http_client::Builder;
use url::Url;

use crate::{Bare, FIELDS, RECORDS, field, key, value};

const TABLE: &str = "storelab_floor";

pub(crate) struct Sdk<'a>(pub(crate) &'a Url);

impl Sdk<'_> {
    fn client(&self) -> Client {
        let endpoint = format!("http://{}:{}", self.0.host_str().unwrap_or("127.0.0.1"), self.0.port().unwrap_or(8000));
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(endpoint)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("storelab", "storelab", None, None, "floor"))
            .retry_config(RetryConfig::disabled())
            .http_client(Builder::new().build_http())
            .build();
        Client::from_conf(config)
    }
}

fn shard(number: usize) -> AttributeValue {
    AttributeValue::N((number % 16).to_string())
}

impl Bare for Sdk<'_> {
    async fn fill(&self) -> Result<()> {
        let client = self.client();
        let mut create = client.create_table().table_name(TABLE).billing_mode(BillingMode::PayPerRequest);
        for (name, kind, key) in
            [("shard", ScalarAttributeType::N, KeyType::Hash), ("key", ScalarAttributeType::S, KeyType::Range)]
        {
            create = create
                .attribute_definitions(
                    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()?,
                )
                .key_schema(KeySchemaElement::builder().attribute_name(name).key_type(key).build()?);
        }
        create.send().await?;
        for number in 0..RECORDS {
            let mut put = client.put_item().table_name(TABLE).item("shard", shard(number));
            put = put.item("key", AttributeValue::S(key(number)));
            for number in 0..FIELDS {
                put = put.item(field(number), AttributeValue::S(value()));
            }
            put.send().await?;
        }
        Ok(())
    }

    async fn read(&self, reads: usize) -> Result<()> {
        let client = self.client();
        for number in 0..reads {
            let number = number % RECORDS;
            let get = client.get_item().table_name(TABLE).consistent_read(true).key("shard", shard(number));
            let answer = get.key("key", AttributeValue::S(key(number))).send().await?;
            answer.item.context("no such record")?;
        }
        Ok(())
    }
}
