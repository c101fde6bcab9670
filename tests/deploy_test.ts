/** The files that programs are deployed with, and the workflows: whether they agree with each other. */
import assert from "node:assert/strict";
import { parse, parseAllDocuments } from "yaml";

const root = new URL("../", import.meta.url);

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, root));
}

// deno-lint-ignore no-explicit-any -- documents of several foreign formats
type Document = any;

const compose: Document = parse(read("docs/deploy/compose.yaml"), { merge: true });
const objects: readonly Document[] = parseAllDocuments(read("docs/deploy/kubernetes.yaml"))
  .map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS();
  });
const workflows = ["ci", "release"].map((name) => `.github/workflows/${name}.yml`);
const dockerfile = read("docs/deploy/Dockerfile");
const user = Number(/^USER (\d+):\1$/m.exec(dockerfile)?.[1]);
const port = Number(/AS relay\nEXPOSE (\d+)$/m.exec(dockerfile)?.[1]);

function object(kind: string, name: string): Document {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  assert.ok(found, `there is no ${kind} ${name}`);
  return found;
}

Deno.test("containers have no rights, and write to volumes only", () => {
  assert.ok(user > 0);
  for (const [name, service] of Object.entries<Document>(compose.services)) {
    assert.equal(service.read_only, true, name);
    assert.deepEqual(service.cap_drop, ["ALL"], name);
    assert.deepEqual(service.security_opt, ["no-new-privileges:true"], name);
  }
  const workloads = objects.filter(({ spec }) => spec?.template);
  assert.equal(workloads.length, 2);
  for (const { metadata: { name }, spec: { template: { spec } } } of workloads) {
    assert.equal(spec.automountServiceAccountToken, false, name);
    assert.equal(spec.securityContext.runAsNonRoot, true, name);
    assert.equal(spec.securityContext.seccompProfile.type, "RuntimeDefault", name);
    for (const { securityContext, resources } of spec.containers) {
      assert.deepEqual(securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      }, name);
      assert.ok(resources.limits.memory, name);
    }
  }
});

Deno.test("in Kubernetes all that select something select what there is", () => {
  const relay = object("Deployment", "relay");
  const [container] = relay.spec.template.spec.containers;
  assert.equal(relay.spec.template.spec.securityContext.runAsUser, user);
  assert.deepEqual(container.ports, [{ name: "http", containerPort: port }]);
  assert.equal(relay.spec.template.metadata.annotations["prometheus.io/port"], String(port));
  assert.equal(container.readinessProbe.httpGet.path, "/health");
  assert.equal(container.livenessProbe.httpGet.path, "/health/live");

  const { labels } = relay.spec.template.metadata;
  assert.deepEqual(relay.spec.selector.matchLabels, labels);
  const budget = object("PodDisruptionBudget", "relay").spec;
  assert.deepEqual(budget.selector.matchLabels, labels);
  assert.ok(budget.minAvailable < relay.spec.replicas);
  const service = object("Service", "relay").spec;
  assert.deepEqual(service.selector, labels);
  assert.equal(service.ports[0].targetPort, container.ports[0].name);

  const ingress = object("Ingress", "relay").spec;
  const [rule] = ingress.rules;
  assert.deepEqual(ingress.tls[0].hosts, [rule.host]);
  assert.deepEqual(rule.http.paths[0].backend.service, { name: "relay", port: { name: "http" } });
  const environment = Object.fromEntries(
    container.env.map(({ name, value }: { name: string; value: string }) => [name, value]),
  );
  assert.equal(environment.RMB_RELAY_DOMAIN, rule.host);
  const redis = new URL(environment.RMB_RELAY_REDIS);
  const redisService = object("Service", redis.hostname);
  assert.equal(redisService.spec.ports[0].port, Number(redis.port));
  const store = object("StatefulSet", "relay-redis").spec;
  assert.deepEqual(store.template.metadata.labels, redisService.spec.selector);
});

Deno.test("compose builds what the Dockerfile has, and connects what there is", () => {
  for (const service of Object.values<Document>(compose.services)) {
    if (service.build) assert.match(dockerfile, new RegExp(` AS ${service.build.target}$`, "m"));
    for (const name of Object.keys(service.depends_on ?? {})) {
      assert.ok(compose.services[name].healthcheck, name);
    }
    for (const value of Object.values<string>(service.environment ?? {})) {
      if (value.startsWith("redis:")) assert.ok(new URL(value).hostname in service.depends_on);
    }
  }
  assert.deepEqual(compose.services.relay.ports, [`127.0.0.1:${port}:${port}`]);
});

Deno.test("workflows have few rights, and run actions by their commit", () => {
  for (const path of workflows) {
    const workflow: Document = parse(read(path));
    assert.deepEqual(workflow.permissions, { contents: "read" }, path);
    for (const [name, job] of Object.entries<Document>(workflow.jobs)) {
      assert.ok(job["timeout-minutes"] > 0, name);
      for (const { uses, with: options } of job.steps) {
        if (uses === undefined) continue;
        assert.match(uses, /^actions\/[\w-]+@[0-9a-f]{40}$/, name);
        if (uses.startsWith("actions/checkout@")) {
          assert.equal(options["persist-credentials"], false);
        }
      }
    }
  }
});

Deno.test("everything runs with one version of Deno", () => {
  const files = [
    ...[".ci/run", "README.md", "CONTRIBUTING.md", "docs/deploy/Dockerfile"],
    ...workflows,
  ];
  const versions = files.flatMap((path) =>
    read(path).matchAll(/\bdeno[@:](\d+\.\d+\.\d+)/g).map(([, version]) => version).toArray()
  );
  assert.ok(versions.length >= files.length - 1);
  assert.equal(new Set(versions).size, 1, versions.join(" "));
});
