//! Calls whose messages are any bytes.

use bytes::{Buf, BufMut, Bytes};
use std::collections::HashMap;
use tokio_stream::Stream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::AsciiMetadataKey;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(input.copy_to_bytes(input.remaining())))
    }
}

/// A unary call of `path` with these bytes and metadata.
pub async fn call(
    channel: Channel,
    path: &'static str,
    message: &'static [u8],
    metadata: &[(&'static str, &'static str)],
) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("the channel is open");
    let mut request = Request::new(Bytes::from_static(message));
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().expect("plain text"));
    }
    let answer = client.unary(request, PathAndQuery::from_static(path), Raw).await;
    answer.map(tonic::Response::into_inner)
}

/// Any call of `path`: to the wire all kinds are that of two streams.
pub async fn stream(
    channel: Channel,
    path: &str,
    messages: impl Stream<Item = Bytes> + Send + 'static,
    metadata: &HashMap<String, String>,
) -> Result<Streaming<Bytes>, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("the channel is open");
    let mut request = Request::new(messages);
    for (name, value) in metadata {
        let name: AsciiMetadataKey = name.parse().expect("a name");
        request.metadata_mut().insert(name, value.parse().expect("plain text"));
    }
    let path = PathAndQuery::try_from(path).expect("a path");
    client.streaming(request, path, Raw).await.map(tonic::Response::into_inner)
}
