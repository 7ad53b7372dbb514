// Makes one story: prints the text while it is written, and writes the audio into story.mp3 while it is narrated.
import { createHash, randomUUID } from "node:crypto";
import { open } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { StoryState } from "./gen/tale/common/v1/common_pb.js";
import { GatewayService } from "./gen/tale/gateway/v1/gateway_pb.js";

const { GATEWAY_TARGET = "127.0.0.1:50051", TALE_TOKEN, TALE_TLS } = process.env;
const baseUrl = `${TALE_TLS ? "https" : "http"}://${GATEWAY_TARGET}`;
const sessionManager = new Http2SessionManager(baseUrl);
const gateway = createClient(GatewayService, createGrpcTransport({ baseUrl, sessionManager }));
const headers = TALE_TOKEN ? { authorization: `Bearer ${TALE_TOKEN}` } : {};
const request = {
  // The same id returns the same story: the call can be repeated, and nothing is paid for twice.
  requestId: randomUUID(),
  spec: {
    listener: { case: "child", value: { name: "Mia", age: 6, interests: ["dragons", "the sea"] } },
    wish: "a dragon who cannot sleep",
    lengthMinutes: 1,
  },
  includeAudio: true,
  textOffset: 0n,
  audioId: "",
  audioOffset: 0n,
};
const file = await open("story.mp3", "w+");

function follow({ case: kind, value }) {
  switch (kind) {
    case "title":
      return process.stdout.write(`${value.title}\n\n`);
    case "text":
      // Offsets of text count code points.
      request.textOffset = value.offset + BigInt([...value.delta].length);
      return process.stdout.write(value.delta);
    case "audio":
      // Audio of another narration begins again at byte 0.
      request.audioId = value.audioId;
      request.audioOffset = value.offset + BigInt(value.chunk.length);
      return file.write(value.chunk, 0, value.chunk.length, Number(value.offset));
    case "done":
      return value.story;
  }
}

async function tell() {
  let story;
  for (let failures = 0; ; failures += 1) {
    try {
      // Read to its end: a stream that is left is cancelled.
      for await (const { event } of gateway.tellStory(request, { headers, timeoutMs: 600_000 })) {
        const result = await follow(event.event);
        if (event.event.case === "done") story = result;
      }
      if (story) return story;
      throw new ConnectError("the stream ended early", Code.Unavailable);
    } catch (error) {
      // A gateway that goes down ends its streams (RECONNECT): the next call continues at the offsets.
      if (ConnectError.from(error).code !== Code.Unavailable || failures === 9) {
        sessionManager.abort();
        throw error;
      }
      await setTimeout(500 * 2 ** Math.min(failures, 4));
    }
  }
}

const story = await tell();
for (const { message, remedy } of story.problems) console.error(`\n${message} ${remedy}`);
console.log(`\n\n${StoryState[story.state]}`);
if (story.audio) {
  await file.truncate(Number(story.audio.sizeBytes));
  const content = Buffer.alloc(Number(story.audio.sizeBytes));
  await file.read(content, 0, content.length, 0);
  const whole = createHash("sha256").update(content).digest().equals(story.audio.sha256);
  console.log(whole ? `story.mp3 has ${content.length} bytes.` : "story.mp3 is not what was stored.");
  process.exitCode = whole ? 0 : 1;
}
await file.close();
// Else the idle connection would hold the process for minutes.
sessionManager.abort();
