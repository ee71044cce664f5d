import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import org.mlflow.api.proto.Service.FileInfo;
import org.mlflow.api.proto.Service.Metric;
import org.mlflow.api.proto.Service.Param;
import org.mlflow.api.proto.Service.Run;
import org.mlflow.api.proto.Service.RunInfo;
import org.mlflow.api.proto.Service.RunStatus;
import org.mlflow.api.proto.Service.RunTag;
import org.mlflow.api.proto.Service.ViewType;
import org.mlflow.tracking.MlflowClient;
import org.mlflow.tracking.MlflowHttpException;

/** MLflow's client for Java at work; prints "done" where everything was as its user expects. */
public class JavaClient {
  public static void main(String[] arguments) throws Exception {
    MlflowClient client = new MlflowClient(arguments[0]);
    String experiment = client.createExperiment("java-" + System.nanoTime());
    RunInfo info = client.createRun(experiment);
    String run = info.getRunId();
    client.logParam(run, "sugar", "0.8");
    client.logMetric(run, "loss", 0.5, 1700000000000L, 1);
    client.logMetric(run, "loss", 0.25, 1700000001000L, 2);
    client.setTag(run, "chef", "me");
    client.logBatch(
        run,
        List.of(Metric.newBuilder().setKey("acc").setValue(0.9).setTimestamp(1L).setStep(3).build()),
        List.of(Param.newBuilder().setKey("flour").setValue("1").build()),
        List.of(RunTag.newBuilder().setKey("oven").setValue("hot").build()));
    Path file = Files.createTempDirectory("java").resolve("notes.txt");
    Files.writeString(file, "crisp");
    client.logArtifact(run, file.toFile(), "texts");
    client.setTerminated(run, RunStatus.FINISHED);

    Run found = client.getRun(run);
    check(found.getInfo().getStatus() == RunStatus.FINISHED, "it is finished");
    check(found.getData().getParamsCount() == 2, "it has both params");
    check(client.getMetricHistory(run, "loss").size() == 2, "its metric has two points");
    List<RunInfo> matching =
        client.searchRuns(List.of(experiment), "metrics.acc > 0.5 and params.sugar = '0.8'", ViewType.ACTIVE_ONLY, 10)
            .getItems().stream().map(Run::getInfo).collect(Collectors.toList());
    check(matching.size() == 1 && matching.get(0).getRunId().equals(run), "a search finds it");
    List<String> paths =
        client.listArtifacts(run, "texts").stream().map(FileInfo::getPath).collect(Collectors.toList());
    check(paths.equals(List.of("texts/notes.txt")), "its file is listed: " + paths);
    check(Files.readString(client.downloadArtifacts(run, "texts/notes.txt").toPath()).equals("crisp"), "and comes back");
    check(client.getExperimentByName(client.getExperiment(experiment).getName()).isPresent(), "its experiment has a name");
    try {
      client.getRun("0".repeat(32));
      check(false, "an unknown run is refused");
    } catch (MlflowHttpException error) {
      check(error.getStatusCode() == 404, "an unknown run is not found");
    }
    client.deleteRun(run);
    client.close();
    System.out.println("done");
    System.exit(0);
  }

  private static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError("not so: " + what);
    }
  }
}
