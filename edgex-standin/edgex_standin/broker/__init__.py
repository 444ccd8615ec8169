"""The MQTT broker of the stand-in: mosquitto where installed, otherwise amqtt."""
