//! Adds `a` and `b` of a JSON body: the same as the component in `../sum`, but it handles HTTP and JSON itself.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Handler;

wasip2::http::proxy::export!(Handler);

#[derive(serde::Deserialize)]
struct Numbers {
    a: i64,
    b: i64,
}

impl Guest for Handler {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let sum = serde_json::from_slice(&read(&request)).map(|Numbers { a, b }| a + b);
        let fields = Fields::new();
        fields.append("content-type", b"application/json").expect("a sound header");
        let response = OutgoingResponse::new(fields);
        response.set_status_code(if sum.is_ok() { 200 } else { 400 }).expect("a sound status");
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        let text = sum.map_or_else(|error| error.to_string(), |sum| sum.to_string());
        stream.blocking_write_and_flush(text.as_bytes()).expect("the caller reads");
        drop(stream);
        OutgoingBody::finish(body, None).expect("the body is whole");
    }
}

fn read(request: &IncomingRequest) -> Vec<u8> {
    let body = request.consume().expect("the body is taken once");
    let stream = body.stream().expect("the stream is taken once");
    let mut bytes = Vec::new();
    while let Ok(chunk) = stream.blocking_read(65_536) {
        bytes.extend(chunk);
    }
    drop(stream);
    IncomingBody::finish(body);
    bytes
}
