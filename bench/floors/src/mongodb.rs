//! MongoDB's own library.

use anyhow::{Context, Result};
use mongodb::Client;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::options::ClientOptions;
use url::Url;

use crate::{Bare, FIELDS, RECORDS, field, key, value};

const DATABASE: &str = "storelab_floor";
const COLLECTION: &str = "records";

pub(crate) struct Official<'a>(pub(crate) &'a Url);

impl Official<'_> {
    async fn client(&self) -> Result<Client> {
        let mut url = self.0.clone();
        url.set_query(Some("directConnection=true&authSource=admin"));
        url.set_path("/");
        let mut options = ClientOptions::parse(url.as_str()).await?;
        (options.max_pool_size, options.min_pool_size) = (Some(1), Some(1));
        Ok(Client::with_options(options)?)
    }
}

impl Bare for Official<'_> {
    async fn fill(&self) -> Result<()> {
        let collection = self.client().await?.database(DATABASE).collection::<Document>(COLLECTION);
        let records = (0..RECORDS).map(|number| {
            let mut record = doc! { "_id": key(number) };
            record.extend((0..FIELDS).map(|number| (field(number), value().into())));
            record
        });
        collection.insert_many(records).await?;
        Ok(())
    }

    async fn read(&self, reads: usize) -> Result<()> {
        let collection = self.client().await?.database(DATABASE).collection::<RawDocumentBuf>(COLLECTION);
        for number in 0..reads {
            collection.find_one(doc! { "_id": key(number % RECORDS) }).await?.context("no such record")?;
        }
        Ok(())
    }
}
