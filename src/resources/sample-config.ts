/** A commented configuration file, as `nightlatch configure` prints it. It is valid as it stands. */
export function sampleConfig(): string {
  return SAMPLE;
}

const SAMPLE = `# Nightlatch, /etc/nightlatch.yaml. Every key may be left out; an empty file is complete.
version: v3

teleport:
  # nodename: gateway.example.com
  data_dir: /var/lib/nightlatch
  log:
    severity: info        # debug, info, warn, error
    output: stderr        # stderr, stdout or a file
    format:
      output: text        # text or json
  # diag_addr: 127.0.0.1:3000    # /metrics and /readyz

auth_service:
  cluster_name: nightlatch

  # A session without activity for this long is ended, on every gateway, in every protocol.
  client_idle_timeout: 15m
  # client_idle_timeout_message: Sign in again to go on.
  # client_idle_warning: 1m        # before the end; never for none
  # client_idle_activity: auto     # input (key presses only), auto, traffic
  # web_idle_timeout: 15m          # browsers
  # disconnect_expired_cert: yes

  # authentication:
  #   type: local
  #   second_factor: on            # off, otp, webauthn, on (one of the two)
  #   default_session_ttl: 12h
  #   locking_mode: best_effort    # or strict

proxy_service:
  web_listen_addr: 0.0.0.0:3080
  # public_addr: gateway.example.com:3080
  # https_keypairs:
  # - key_file: /etc/nightlatch/tls.key
  #   cert_file: /etc/nightlatch/tls.crt

  # Listeners for clients without tsh, each off unless it is written.
  # ssh_listen_addr: 0.0.0.0:3023
  # postgres_listen_addr: 0.0.0.0:5432
  # mysql_listen_addr: 0.0.0.0:3036
  # redis_listen_addr: 0.0.0.0:6379
  # kube_listen_addr: 0.0.0.0:3026

# An SSH node inside the daemon: shells as the daemon's own user; under root, as the login that the roles allow.
# ssh_service:
#   enabled: yes
#   labels:
#     env: demo

# db_service:
#   enabled: yes
#   databases:
#   - name: orders
#     protocol: postgres             # postgres, mysql, redis
#     uri: db.example.com:5432
#     static_labels:
#       env: prod
#     tls:
#       mode: verify-full            # verify-full, verify-ca, insecure, disable
#       ca_cert_file: /etc/nightlatch/db-ca.pem
#     # auth:
#     #   password_file: /etc/nightlatch/orders.password
#     # audit_queries: yes

# kubernetes_service:
#   enabled: yes
#   kubeconfig_file: /etc/nightlatch/kubeconfig
#   kube_cluster_name: prod
#   labels:
#     env: prod

# windows_desktop_service:
#   enabled: yes
#   static_hosts:
#   - name: office-1
#     addr: office-1.example.com:3389
#     protocol: rdp                  # rdp or vnc
#     labels:
#       env: office
`;
