import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.client.interceptor.BearerTokenAuthInterceptor;
import ca.uhn.fhir.rest.gclient.ReferenceClientParam;
import ca.uhn.fhir.rest.server.exceptions.PreconditionFailedException;
import java.util.ArrayList;
import java.util.List;
import org.hl7.fhir.instance.model.api.IBaseBundle;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.CapabilityStatement;
import org.hl7.fhir.r4.model.CodeableConcept;
import org.hl7.fhir.r4.model.Goal;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Reference;

/** HAPI's generic client on the gateway: `Client BASE TOKEN PATIENT` prints one JSON object of what it saw. */
public class Client {
  public static void main(String[] args) {
    IGenericClient client = FhirContext.forR4().newRestfulGenericClient(args[0]);
    client.registerInterceptor(new BearerTokenAuthInterceptor(args[1]));
    CapabilityStatement statement = client.capabilities().ofType(CapabilityStatement.class).execute();

    List<String> ids = new ArrayList<>();
    Bundle page = client.search().forResource(Goal.class).where(new ReferenceClientParam("patient").hasId("Patient/" + args[2]))
        .count(1).totalMode(ca.uhn.fhir.rest.api.SearchTotalModeEnum.ACCURATE).returnBundle(Bundle.class).execute();
    int total = page.getTotal();
    while (true) {
      page.getEntry().forEach(e -> ids.add(e.getResource().getIdElement().getIdPart()));
      if (page.getLink(IBaseBundle.LINK_NEXT) == null) break;
      page = client.loadPage().next(page).execute();
    }

    Goal goal = new Goal().setLifecycleStatus(Goal.GoalLifecycleStatus.PROPOSED)
        .setDescription(new CodeableConcept().setText("Walk to the library")).setSubject(new Reference("Patient/" + args[2]));
    MethodOutcome made = client.create().resource(goal).execute();
    IdType id = (IdType) made.getId();
    Goal read = client.read().resource(Goal.class).withId(id.getIdPart()).execute();
    String version = read.getMeta().getVersionId();
    read.setLifecycleStatus(Goal.GoalLifecycleStatus.ACTIVE);
    MethodOutcome updated = client.update().resource(read).withId("Goal/" + id.getIdPart()).withAdditionalHeader("If-Match", "W/\"" + version + "\"").execute();
    int stale = 200;
    String outcome = "";
    try {
      read.setLifecycleStatus(Goal.GoalLifecycleStatus.ONHOLD);
      client.update().resource(read).withId("Goal/" + id.getIdPart()).withAdditionalHeader("If-Match", "W/\"" + version + "\"").execute();
    } catch (PreconditionFailedException error) {
      stale = error.getStatusCode();
      outcome = error.getOperationOutcome().fhirType();
    }
    System.out.printf("{\"fhirVersion\":\"%s\",\"total\":%d,\"ids\":[\"%s\"],\"created\":\"%s\",\"version\":\"%s\",\"stale\":%d,\"outcome\":\"%s\"}%n",
        statement.getFhirVersion().toCode(), total, String.join("\",\"", ids), id.getIdPart(), updated.getId().getVersionIdPart(), stale, outcome);
  }
}
