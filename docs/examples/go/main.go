// Makes one story: prints the text while it is written, and writes the audio into story.mp3 while it is narrated.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"
	"unicode/utf8"

	common "example/story/gen/tale/common/v1"
	tale "example/story/gen/tale/gateway/v1"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	target := os.Getenv("GATEWAY_TARGET")
	if target == "" {
		target = "127.0.0.1:50051"
	}
	connection, err := connect(target)
	if err != nil {
		return err
	}
	defer connection.Close()
	file, err := os.Create("story.mp3")
	if err != nil {
		return err
	}
	defer file.Close()
	story, err := tell(tale.NewGatewayServiceClient(connection), file)
	if err != nil {
		return err
	}
	for _, problem := range story.GetProblems() {
		fmt.Fprintf(os.Stderr, "\n%s %s\n", problem.GetMessage(), problem.GetRemedy())
	}
	fmt.Printf("\n\n%s\n", story.GetState())
	if story.GetAudio() == nil {
		return nil
	}
	return verify(file, story.GetAudio())
}

func tell(gateway tale.GatewayServiceClient, file *os.File) (*common.Story, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if token := os.Getenv("TALE_TOKEN"); token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	request := &tale.TellStoryRequest{
		// The same id returns the same story: the call can be repeated, and nothing is paid for twice.
		RequestId: fmt.Sprintf("%x", id),
		Spec: &common.StorySpec{
			Listener: &common.StorySpec_Child{Child: &common.Child{
				Name: "Mia", Age: proto.Int32(6), Interests: []string{"dragons", "the sea"},
			}},
			Wish:          "a dragon who cannot sleep",
			LengthMinutes: proto.Int32(1),
		},
		IncludeAudio: true,
	}
	for failures := 0; ; failures++ {
		story, err := follow(ctx, gateway, request, file)
		// A gateway that goes down ends its streams (RECONNECT): the next call continues at the offsets.
		if err == nil || status.Code(err) != codes.Unavailable || failures == 9 {
			return story, err
		}
		time.Sleep(time.Second)
	}
}

func follow(
	ctx context.Context, gateway tale.GatewayServiceClient, request *tale.TellStoryRequest, file *os.File,
) (*common.Story, error) {
	stream, err := gateway.TellStory(ctx, request)
	if err != nil {
		return nil, err
	}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, status.Error(codes.Unavailable, "the stream ended early")
		}
		if err != nil {
			return nil, err
		}
		switch event := response.GetEvent().GetEvent().(type) {
		case *tale.StoryEvent_Title:
			fmt.Printf("%s\n\n", event.Title.GetTitle())
		case *tale.StoryEvent_Text:
			// Offsets of text count code points.
			request.TextOffset = event.Text.GetOffset() + int64(utf8.RuneCountInString(event.Text.GetDelta()))
			fmt.Print(event.Text.GetDelta())
		case *tale.StoryEvent_Audio:
			// Audio of another narration begins again at byte 0.
			if _, err := file.WriteAt(event.Audio.GetChunk(), event.Audio.GetOffset()); err != nil {
				return nil, err
			}
			request.AudioId = event.Audio.GetAudioId()
			request.AudioOffset = event.Audio.GetOffset() + int64(len(event.Audio.GetChunk()))
		case *tale.StoryEvent_Done:
			return event.Done.GetStory(), nil
		}
	}
}

func verify(file *os.File, audio *common.StoryAudio) error {
	if err := file.Truncate(audio.GetSizeBytes()); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return err
	}
	if string(hash.Sum(nil)) != string(audio.GetSha256()) {
		return errors.New("story.mp3 is not what was stored")
	}
	fmt.Printf("story.mp3 has %d bytes.\n", audio.GetSizeBytes())
	return nil
}
