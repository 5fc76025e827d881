// Lists the runs of a daemon at a unix socket: runs PATH
#include <grpcpp/grpcpp.h>

#include <iostream>

#include "clino/v1/runs.grpc.pb.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "expected the path of a socket\n";
    return 64;
  }
  // Without this, grpc names the percent-encoded path as authority, and the daemon's HTTP/2 resets the call.
  grpc::ChannelArguments arguments;
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  const auto credentials = grpc::InsecureChannelCredentials();
  const auto channel = grpc::CreateCustomChannel("unix:" + std::string(argv[1]), credentials, arguments);
  const auto runs = clino::v1::Runs::NewStub(channel);

  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  clino::v1::ListRunsResponse answer;
  const grpc::Status status = runs->ListRuns(&context, clino::v1::ListRunsRequest(), &answer);
  if (!status.ok()) {
    std::cerr << status.error_message() << "\n";
    return 1;
  }
  for (const auto& run : answer.runs()) std::cout << run.run_id() << " " << run.measured() << " measured\n";
  return 0;
}
